"""The jobs that the driver gives to workers: train a pack, measure widths, merge a champion, score an anchor.

All paths are on storage that every node sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from orchestrator.model.shortcuts import NONE, Shortcuts
from orchestrator.plan.packs import Pack
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.sections import EngineSpec, OptimSpec
from orchestrator.search.halving import Contest


@dataclass(frozen=True)
class PackJob:
    """Train the runs of ``pack`` and write them below ``folder``, the sweep's folder.

    ``data`` is the prepared file of each task. ``contest`` is the rule by which runs are stopped at rungs; None stops
    no run. ``commit`` is the git commit of the driver's code, if the driver knows it. ``micro_batch``
    are the rows per micro batch, where memory was full with those of the recipe.
    """

    folder: str
    base_path: str
    base_fingerprint: str
    data: dict[str, str]
    engine: EngineSpec
    pack: Pack
    contest: Contest | None = None
    shortcuts: Shortcuts = NONE
    commit: str | None = None
    micro_batch: int | None = None

    @property
    def optim(self) -> OptimSpec:
        """The optimizer settings of all runs of the pack."""
        optim = self.pack.runs[0].spec.optim
        return optim if self.micro_batch is None else optim.model_copy(update={"micro_batch": self.micro_batch})


@dataclass(frozen=True)
class ProbeJob:
    """Measure how many of ``runs`` a pack should hold, for ``trainers`` trainers of ``workers`` workers each.

    ``data`` is the prepared file of each task. All workers are taken to share the memory of one machine, unless each
    has a GPU.
    """

    base_path: str
    data: dict[str, str]
    engine: EngineSpec
    runs: tuple[PlannedRun, ...]
    trainers: int
    workers: int = 1
    shortcuts: Shortcuts = NONE


@dataclass(frozen=True)
class ChampionJob:
    """Merge the run of ``row`` (its row of results.jsonl) into one plain model, and score the merged model.

    ``folder`` is the sweep's folder, ``data`` the prepared file of the run's task, ``base_accuracy`` the untrained
    base's accuracy on its test items, if it was measured. With ``share`` the choices of a question share its prompt.
    ``data_fingerprint`` is the fingerprint of ``data``.
    """

    row: dict[str, Any]
    folder: str
    base_path: str
    base_fingerprint: str
    base_accuracy: float | None
    data: str
    dtype: str
    share: bool = False
    gpus: float = 0
    data_fingerprint: str | None = None


@dataclass(frozen=True)
class AnchorJob:
    """Score the model in the directory ``model`` on the test items of tasks; nothing is trained and nothing written.

    ``data`` is the prepared file of each task. With ``share`` the choices of a question share its prompt. With
    ``deterministic`` a GPU sums in a fixed order.
    """

    model: str
    data: dict[str, str]
    dtype: str
    share: bool = False
    gpus: float = 0
    deterministic: bool = False
