"""Answer test items by a merged champion that was scored on other items, so that a new run can be compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import d2lora
from orchestrator import objects
from orchestrator.data.prepared import load_prepared
from orchestrator.machine.device import device_of
from orchestrator.model.loading import DTYPES, load_model
from orchestrator.train.engine.plain import OneProcess
from orchestrator.train.score import score_items


@dataclass(frozen=True)
class ScoreStanding:
    """The job of scoring as a function of the champion's directory. `Cluster.call` can pickle and run it.

    ``data`` is the prepared file of the task; the other fields are as in `ChampionJob`.
    """

    data: str
    dtype: str
    share: bool = False
    gpus: float = 0

    def __call__(self, place: Path) -> str:
        """Return "1" or "0" per test item: whether the champion in ``place`` answers it right."""
        objects.ensure(Path(self.data))
        objects.fetch(place)
        device, items = device_of(self.gpus), load_prepared(Path(self.data))["test"]
        model = d2lora.freeze(load_model(place, DTYPES[self.dtype]).eval().to(device))
        scored = score_items(OneProcess(model, device), {0: items}, 0, self.share)[0]
        return "".join("1" if item.predicted == item.answer else "0" for item in scored)
