"""Look at the base once, before anything starts: its model, weights and tokenizer, together with the prepared rows."""

from __future__ import annotations

import gc
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

from torch import nn

from orchestrator.base.rows import fit_rows
from orchestrator.base.source import StoredBase
from orchestrator.base.targets import unreached
from orchestrator.base.weights import check_layers, check_numbers
from orchestrator.data.tokens import TokenisedSplit
from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.model.loading import DTYPES, GENERATION, generation_fault, load_model
from orchestrator.model.shortcuts import Shortcuts, choose_shortcuts
from orchestrator.recipe.spec import SweepSpec

FORMAT = 2
"""The version of the checks of a look. Raise it when a check is added, so that remembered looks are taken again."""
PATIENCE = 5.0
"""The seconds after which a look that still runs is announced."""
Say = Callable[[str], None]
Rows = Mapping[str, TokenisedSplit]
"""Task -> its prepared rows, of all splits together."""


def look_at_base(base: StoredBase, sweep: SweepSpec, rows: Rows, tokenizer: Any, looks: Path, say: Say) -> Shortcuts:
    """Return the shortcuts that every job of the sweep takes, after a look at the base; print the remarks of the look.

    A look is remembered in the folder ``looks``, under a hash of everything that it depends on, and is not taken again.
    InputError for a base whose weights are not whole, or that cannot compute these rows.
    """
    file = looks / f"{_key(base, sweep, rows)}.json"
    shortcuts = _remembered(file)
    if shortcuts is None:
        with _announced_if_long(say):
            shortcuts = _look(base, sweep, rows, tokenizer)
        write_json(file, {"share": shortcuts.share, "blocks": shortcuts.blocks, "told": shortcuts.remarks})
    for line in shortcuts.remarks:
        say(line)
    return shortcuts


def _look(base: StoredBase, sweep: SweepSpec, rows: Rows, tokenizer: Any) -> Shortcuts:
    """Return the shortcuts; their remarks follow the remarks on rows and targets. InputError if a check fails."""
    model = _loaded(base, sweep)
    on_rows = fit_rows(model, rows, tokenizer)
    check_numbers(model)
    check_layers(model, {pattern for method in sweep.methods for pattern in method.patterns})
    with unreached(model, {method.targets for method in sweep.methods}) as on_targets:
        shortcuts = choose_shortcuts(model, rows, blocks=not sweep.cluster.gpus_per_worker)
    del model
    gc.collect()  # before trainers load the base
    return replace(shortcuts, remarks=(*on_rows, *on_targets, *shortcuts.remarks))


@contextmanager
def _announced_if_long(say: Say) -> Iterator[None]:
    """Within: the caller looks at the base. A look of over `PATIENCE` seconds is announced, and its time at the end."""
    begin = time.monotonic()
    timer = threading.Timer(
        PATIENCE, say, ["looking at the base (once): its weights, and rows computed in several ways"]
    )
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if time.monotonic() - begin > PATIENCE:
        say(f"looked at the base in {time.monotonic() - begin:.0f} s")


def _loaded(base: StoredBase, sweep: SweepSpec) -> nn.Module:
    """Return the model of the base, with weights of the type that the sweep trains in."""
    try:
        return load_model(base.path, DTYPES[sweep.dtype]).eval()
    except InputError:
        raise
    except Exception as error:  # the architecture's own code can raise anything on weights that it cannot use
        if fault := generation_fault(base.path):
            raise InputError(
                f"{base.path / GENERATION} cannot be used: {fault} The base itself may be whole: correct that file or "
                "remove it; no sweep needs it."
            ) from error
        raise InputError(
            f"{base.path} cannot be loaded: {type(error).__name__}: {shorten(str(error), 300)}. Fetch or copy the "
            "model's directory again, or take another base."
        ) from error


def _key(base: StoredBase, sweep: SweepSpec, rows: Rows) -> str:
    """Return a hash of everything that the result of a look depends on."""
    digest = hashlib.sha256()
    depends_on = {
        "format": FORMAT,
        "base": base.fingerprint,
        "dtype": sweep.dtype,
        "gpus": bool(sweep.cluster.gpus_per_worker),
        "targets": sorted({pattern for method in sweep.methods for pattern in method.patterns}),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "max_length": sweep.data.max_length,
    }
    digest.update(json.dumps(depends_on, sort_keys=True).encode())
    for name, items in sorted(rows.items()):
        digest.update(f"\n{name} {len(items)}\n".encode())
        for array in (items.tokens, items.token_ends, items.starts, items.choice_ends, items.end):
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def _remembered(file: Path) -> Shortcuts | None:
    """Return the result of a look from its file; None if the file is missing or damaged."""
    content = read_json(file)
    if not isinstance(content, dict) or set(content) != {"share", "blocks", "told"}:
        return None
    return Shortcuts(bool(content["share"]), bool(content["blocks"]), tuple(map(str, content["told"])))
