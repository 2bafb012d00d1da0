"""The base is looked at once, before anything starts: its model, weights, tokenizer and the prepared rows together."""

from __future__ import annotations

import gc
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
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

FORMAT = 2  # raise it when the code finds something that it did not find before
PATIENCE = 5.0  # seconds
Say = Callable[[str], None]
Rows = Mapping[str, TokenisedSplit]


def look_at_base(base: StoredBase, sweep: SweepSpec, rows: Rows, tokenizer: Any, memory: Path, say: Say) -> Shortcuts:
    """Return what of a pass every job of the sweep leaves out; ``rows`` are each task's, of all splits.

    InputError for a base whose weights are not whole, or that cannot compute these rows; what one should know is said.
    A look is remembered in ``memory``, by all that decides it, and costs nothing the next time.
    """
    place = memory / f"{_key(base, sweep, rows)}.json"
    known = _remembered(place)
    if known is None:
        with _told_if_long(say):
            known = _look(base, sweep, rows, tokenizer)
        write_json(place, asdict(known))
    for line in known.told:
        say(line)
    return known


def _look(base: StoredBase, sweep: SweepSpec, rows: Rows, tokenizer: Any) -> Shortcuts:
    model = _loaded(base, sweep)
    told = fit_rows(model, rows, tokenizer)
    check_numbers(model)
    check_layers(model, {one for method in sweep.methods for one in method.patterns})
    with unreached(model, {method.targets for method in sweep.methods}) as needless:
        shortcuts = choose_shortcuts(model, rows, blocks=not sweep.cluster.gpus_per_worker)
    del model
    gc.collect()  # before trainers load theirs
    return Shortcuts(shortcuts.share, shortcuts.blocks, (*told, *needless, *shortcuts.told))


@contextmanager
def _told_if_long(say: Say) -> Iterator[None]:
    """Within: say what is at work if it takes over `PATIENCE` seconds, and in the end how long it took."""
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
    """Return the base in the type that trains."""
    try:
        return load_model(base.path, DTYPES[sweep.dtype]).eval()
    except InputError:
        raise
    except Exception as error:  # whatever the architecture's own code raises on weights that it cannot use
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
    digest = hashlib.sha256()
    decides = {
        "format": FORMAT,
        "base": base.fingerprint,
        "dtype": sweep.dtype,
        "gpus": bool(sweep.cluster.gpus_per_worker),
        "targets": sorted({one for method in sweep.methods for one in method.patterns}),
        "versions": {name: version(name) for name in ("torch", "transformers")},
        "max_length": sweep.data.max_length,
    }
    digest.update(json.dumps(decides, sort_keys=True).encode())
    for name, items in sorted(rows.items()):
        digest.update(f"\n{name} {len(items)}\n".encode())
        for array in (items.tokens, items.token_ends, items.starts, items.choice_ends, items.end):
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def _remembered(place: Path) -> Shortcuts | None:
    known = read_json(place)
    if not isinstance(known, dict) or set(known) != {"share", "blocks", "told"}:
        return None
    return Shortcuts(bool(known["share"]), bool(known["blocks"]), tuple(map(str, known["told"])))
