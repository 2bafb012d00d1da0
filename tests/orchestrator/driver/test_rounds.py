"""Rounds of training, as far as they are about very many runs."""

from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from orchestrator.driver import rounds as module
from orchestrator.driver.rounds import UNREADABLE, train_rounds


def seconds_of(patch: pytest.MonkeyPatch, count: int) -> float:
    """Return the processor time of two rounds of so many runs each, which train nothing."""
    runs = [SimpleNamespace(key=f"{number:016x}") for number in range(2 * count)]
    rounds = [runs[:count], runs[count:], []]
    results = {run.key: 0.5 for run in runs[1:]}
    folder = SimpleNamespace(run=lambda key: SimpleNamespace(ended=lambda: "committed", path=Path(key)))
    ready: Any = SimpleNamespace(runs=runs, spec=SimpleNamespace(search=SimpleNamespace(kind="grid"), tasks=()))
    widths = SimpleNamespace(spending=SimpleNamespace(line=lambda: None))
    patch.setattr(module, "PackWidths", lambda *_: widths)
    patch.setattr(module, "take_back_damaged", lambda *_: None)
    patch.setattr(module, "_next_round", lambda *_: rounds.pop(0))
    patch.setattr(module, "_train_round", lambda *_: ({}, {}))
    patch.setattr(module, "decisions", lambda *_: {})
    services: Any = SimpleNamespace(tracker=SimpleNamespace(connecting=True))
    scores: Any = SimpleNamespace(read=lambda: dict(results))
    begin = time.process_time()
    failed = train_rounds(ready, folder, services, scores, Console(file=io.StringIO()))
    assert failed == {runs[0].key: UNREADABLE}
    return time.process_time() - begin


def test_four_times_as_many_runs_take_about_four_times_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen times as long would be hours for 100,000 runs."""
    seconds_of(monkeypatch, 100)
    small = min(seconds_of(monkeypatch, 1000) for _ in range(3))
    assert seconds_of(monkeypatch, 4000) < 9 * small + 0.05
