"""Champions in MLflow's registry: one model per sweep and task, one version per champion, the newest under an alias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orchestrator import objects
from orchestrator.store.identity import Identity
from orchestrator.tracking.mlflow.entries import SWEEP_ID

ALIAS = "champion"
UPLOAD_BYTES = 256 << 20
"""The largest directory that a server gets: a larger one would take longer than a driver waits for a server."""


def own_name(
    client: Any, wanted: str, identity: Identity, place: Path, say: Callable[[str], None] = lambda _: None
) -> str:
    """Return the name of this sweep's registered model of the champion in ``place``, which is created if it is new.

    The name is ``wanted``, unless the model with this name belongs to another folder: then a part of the identity
    follows it, which is said. The tag ``sweep_id`` tells to whom a model belongs. A model of an earlier version has no
    tag; it belongs to the folder that its versions name, and stays.
    """
    other = f"{wanted}-{identity.word[:8]}"
    like = client.search_registered_models(f"name LIKE '{wanted}%'", max_results=1000)
    models = {model.name: model for model in like}
    for name in (other, wanted):
        if name in models and _is_own(client, models[name], identity, place):
            return name
    name = other if wanted in models else wanted
    if name == other:
        say(f"MLflow's model {wanted} is of another sweep of this name, so this sweep's champion is {name}.")
    client.create_registered_model(name, tags={SWEEP_ID: identity.word})
    return name


def register_champion(
    client: Any, name: str, tags: Mapping[str, str], place: Path, run_id: str | None, server: bool
) -> None:
    """Register the directory ``place`` of the run ``tags["run_key"]`` as ``name``, unless this very champion is there.

    A directory in an object store is registered under its address. A server refuses a directory of another machine as
    a source. So a server gets the files as artefacts of the champion's run, of a directory of more than `UPLOAD_BYTES`
    the evaluation alone; and the directory as the tag ``place``.
    """
    source = objects.address_of(place) or place.as_uri()
    current = _current(client, name)
    same = current and current.tags.get("run_key") == tags["run_key"]
    if same and source in (current.source, current.tags.get("place")):
        return
    version = version_of(client, name, tags, place, run_id, server)
    client.set_registered_model_alias(name, ALIAS, version.version)


def version_of(client: Any, name: str, tags: Mapping[str, str], place: Path, run_id: str | None, server: bool) -> Any:
    """Return the version of the champion in ``place``, as of `register_champion`; it is created if it is new.

    An uploaded champion is one version for life: the tag ``place`` follows its directory.
    """
    source, uploaded = objects.address_of(place) or place.as_uri(), server and not objects.key_of(place)
    if uploaded:
        source = f"runs:/{run_id}/{ALIAS}"
    version = _same(client, name, source, tags)
    if version is None:
        if uploaded:
            _upload(client, run_id, place)
        every = {**tags, "place": place.as_uri()} if uploaded else dict(tags)
        return client.create_model_version(name, source, run_id=run_id, tags=every)
    if uploaded and version.tags.get("place") != place.as_uri():
        client.set_model_version_tag(name, version.version, "place", place.as_uri())
    return version


def _upload(client: Any, run_id: str | None, place: Path) -> None:
    if sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) <= UPLOAD_BYTES:
        client.log_artifacts(run_id, str(place), ALIAS)
    else:
        client.log_artifact(run_id, str(place / "evaluation.json"), ALIAS)


def _is_own(client: Any, model: Any, identity: Identity, place: Path) -> bool:
    """Return whether a registered model belongs to this sweep's folder; a model without an owner then gets its tag."""
    owner = model.tags.get(SWEEP_ID)
    if owner is not None:
        return bool(owner == identity.word)
    versions = client.search_model_versions(f"name = '{model.name}'")
    here = {place.as_uri(), objects.address_of(place) or place.as_uri()}
    if versions and not identity.adopts and not any({one.source, one.tags.get("place")} & here for one in versions):
        return False
    client.set_registered_model_tag(model.name, SWEEP_ID, identity.word)
    return True


def _same(client: Any, name: str, source: str, tags: Mapping[str, str]) -> Any:
    """Return the version of this very champion: its creation may have lost its answer, or the alias gone elsewhere."""
    versions = client.search_model_versions(f"name = '{name}'")
    same = [one for one in versions if one.source == source and tags.items() <= one.tags.items()]
    return max(same, key=lambda one: int(one.version), default=None)


def _current(client: Any, name: str) -> Any:
    """Return the version that has the alias; None where no version has it."""
    aliases = client.get_registered_model(name).aliases
    return client.get_model_version(name, aliases[ALIAS]) if ALIAS in aliases else None
