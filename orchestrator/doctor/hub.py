"""Check that the base and the rows of a recipe can be fetched: from disk, a mirror, or the hub with its licences."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.base.files import check_json, read_config, stored_weights
from orchestrator.data.sources import HubSource
from orchestrator.data.tasks import make_task
from orchestrator.doctor.check import Check, fail, guarded, ok, warn
from orchestrator.paths import readable
from orchestrator.recipe.spec import SweepSpec

SECONDS = 15.0
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable # nosec B105
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
WITHOUT = "Without the hub: model.path=DIR, data.mirror=DIR"


@dataclass(frozen=True)
class Hub:
    """How the hub is asked; tests give answers of their own.

    ``ask(kind, name, revision)`` raises as huggingface_hub does; ``kind`` is "model" or "dataset". ``has_token`` is
    whether a token is known; the token itself is never read here.
    """

    ask: Callable[[str, str, str | None], Any]
    has_token: bool
    offline: bool


def real_hub() -> Hub:
    """Return the hub of Hugging Face, or the mirror that HF_ENDPOINT names."""
    from huggingface_hub import HfApi, constants, get_token

    def ask(kind: str, name: str, revision: str | None) -> Any:
        api = HfApi()
        if kind == "dataset":
            return api.dataset_info(name, timeout=SECONDS)
        info = api.model_info(name, revision=revision, timeout=SECONDS)
        if info.gated:
            api.auth_check(name)  # what is gated shows its page to everybody, and its files to those who may
        return info

    return Hub(ask, get_token() is not None, bool(constants.HF_HUB_OFFLINE))


def base(spec: SweepSpec, hub: Hub) -> list[Check]:
    """Return whether the base can be fetched."""
    model = spec.model
    if model.path is not None:
        return guarded("base", lambda: _on_disk(str(model.path)), "Give a directory with a model: model.path=DIR")
    if model.name == "tiny":
        return [ok("base", "the tiny base is made here; nothing is fetched")]
    return _asked("base", "model", model.name, model.revision, hub)


def _on_disk(path: str) -> Iterator[Check]:
    """Look at config, tokenizer and the headers of the weights, as a sweep does before it loads a base."""
    folder = readable(path)
    if not folder.is_dir():
        yield fail("base", f"model.path={path} is no directory", "Give a directory with a model: model.path=DIR")
        return
    read_config(folder)
    weights = stored_weights(folder)
    check_json(folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        said = f"{folder} has no tokenizer ({', '.join(TOKENIZERS)})"
        yield fail("base", said, "Copy the tokenizer's files of the model there")
        return
    yield ok("base", f"{folder} has config, tokenizer and whole weights ({weights.dtype})")


def rows(spec: SweepSpec, hub: Hub) -> list[Check]:
    """Return whether the first row to train and to test on of every task can be read, or its data set is on the hub."""
    return [check for task in spec.tasks for check in guarded("rows", partial(_rows, task, spec, hub), WITHOUT)]


def _rows(entry: Any, spec: SweepSpec, hub: Hub) -> Iterator[Check]:
    task = make_task(**entry.model_dump())
    mirror = readable(spec.data.mirror) if spec.data.mirror else None
    if isinstance(task.source, HubSource) and mirror is None:
        yield from _asked("rows", "dataset", task.source.id, None, hub)
        return
    places = []
    for split in (task.train, task.test):
        first = next(iter(task.load(split, mirror)), None)
        if first is None:
            yield fail("rows", f"{task.name} has no row in {split}", "Put rows there")
            return
        places.append(first.place)
    yield ok("rows", f"{task.name} can be read ({', '.join(places)})")


def _asked(check: str, kind: str, name: str, revision: str | None, hub: Hub) -> list[Check]:
    at = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    page = f"{at}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if hub.offline:
        said = f"HF_HUB_OFFLINE is set, so {name} is taken from the cache, if it is there"
        return [warn(check, said, f"Unset HF_HUB_OFFLINE to fetch it. {WITHOUT}")]
    try:
        hub.ask(kind, name, revision)
    except Exception as error:  # of the hub, of requests, of a proxy
        return [_refused(check, name, page, error, hub.has_token)]
    return [ok(check, f"{page} can be fetched" + (f" at {revision}" if revision else ""))]


def _refused(check: str, name: str, page: str, error: Exception, has_token: bool) -> Check:
    """Return what a refusal of the hub means; the token is named and never shown."""
    kinds = {cls.__name__ for cls in type(error).__mro__}
    known = f"{TOKEN} or `hf auth login` gives a token here" if has_token else f"no {TOKEN} is set here"
    if "GatedRepoError" in kinds:
        remedy = f"Accept its licence at {page}, then set {TOKEN} to a token of that account for the job"
        return fail(check, f"{name} is gated, and this account may not fetch it ({known})", remedy)
    if "RevisionNotFoundError" in kinds:
        return fail(check, f"{name} has no such revision", f"Look at {page}/commits/main: model.revision=COMMIT")
    if "RepositoryNotFoundError" in kinds:
        remedy = f"Correct the name; a private one needs {TOKEN} of an account that may read it"
        return fail(check, f"{name} is not on the hub, or is private ({known})", remedy)
    line = (str(error).splitlines() or [""])[0][:200]
    remedy = f"Look at the network, HTTPS_PROXY and HF_ENDPOINT. {WITHOUT}"
    return fail(check, f"{page} does not answer ({type(error).__name__}: {line})", remedy)
