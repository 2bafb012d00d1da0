"""Train runs as packs: choose how many runs a pack may hold, and let the cluster train all packs in one call."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from types import MappingProxyType
from typing import Any

from orchestrator import objects
from orchestrator.cluster.cluster import Cluster
from orchestrator.driver.prepare import ReadySweep
from orchestrator.driver.spending import Spending
from orchestrator.files import read_json, write_json
from orchestrator.machine.code import own_commit
from orchestrator.machine.device import device_of
from orchestrator.plan.packs import Pack, are_packs, named, pack_runs, packs_again
from orchestrator.plan.runs import PlannedRun
from orchestrator.plan.widths import assumed_width, measures_widths
from orchestrator.recipe.cluster_section import ClusterSpec
from orchestrator.say import Say
from orchestrator.search.halving import contest, kept_together
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.worker.jobs import PackJob, ProbeJob
from orchestrator.worker.pack_trainer import PackTrainer
from orchestrator.worker.probe import probe_widths

_log = logging.getLogger(__name__)
Widths = dict[str, int]
"""Task -> how many runs of the task a pack holds at most."""


class PackWidths:
    """The widths of packs: as the recipe says, or as measured on the sweep's own base, methods and rows.

    ``spending`` says which of the packs a budget pays for.
    """

    def __init__(self, ready: ReadySweep, folder: SweepFolder, say: Say) -> None:
        self._ready, self._folder, self._say = ready, folder, say
        self.spending = Spending(ready, folder, say)
        self._measured: Widths | None = None
        self._narrow: Widths = {}

    def narrow(self, widths: Widths) -> None:
        """Set the widths of the next attempts at runs whose packs failed; a task without one has packs of one run."""
        self._narrow = dict(widths)

    def of(self, missing: Sequence[PlannedRun], cluster: Cluster, attempt: int) -> Widths:
        """Return the widths of the packs in which the runs ``missing`` are trained.

        From the second attempt on each run is trained alone, so that a run that fails takes no other run with it,
        unless `narrow` says that its pack was only too wide for the memory.
        Nothing is measured if there is a trainer for each run. Measured widths are used in later rounds too, unless the
        search proposes new settings in each round: new settings may need more memory. A short sweep on CPUs takes the
        widths that `jobs/plan.py` assumes, because measuring would take a large share of its time. On GPUs widths are
        always measured, because too wide a pack fills the memory.
        """
        wanted = self._ready.spec.cluster.pack
        if attempt > 1:
            return self._each(1) | self._narrow
        if wanted != "auto":
            return self._each(wanted)
        if len(missing) <= cluster.concurrent:
            return self._each(1)
        if not measures_widths(self._ready.spec, list(self._ready.steps.values())):
            return self._assumed()
        if self._measured is None or self._ready.spec.search.kind == "tpe":
            self._measured = self._measure(missing, cluster)
        return self._measured or self._each(1)

    def _assumed(self) -> Widths:
        micro_batch = self._ready.spec.optim.micro_batch
        return {task: assumed_width(micro_batch * tokens) for task, tokens in self._ready.row_tokens.items()}

    def _each(self, width: int) -> Widths:
        return dict.fromkeys(self._ready.data, width)

    def _measure(self, missing: Sequence[PlannedRun], cluster: Cluster) -> Widths | None:
        """Measure widths with the resources of a worker; None if measuring fails, for example when memory is full."""
        self._say("measuring how many runs to train together")
        ready, spec = self._ready, self._ready.spec
        job = ProbeJob(
            base_path=str(ready.base.path),
            data=ready.data_files,
            engine=spec.trained_by,
            runs=tuple(missing),
            trainers=cluster.concurrent,
            workers=spec.cluster.workers,
            shortcuts=ready.shortcuts,
        )
        try:
            widths: Widths = cluster.call(MeasureWidths(job, spec.cluster), self._folder.path)
        except Exception as error:
            self._say(f"measuring failed ({shorten(str(error), 200)}); every run is trained alone")
            return None
        self._say("runs per pack, at most: " + ", ".join(f"{task} {width}" for task, width in widths.items()))
        return self._each(1) | widths


@dataclass(frozen=True)
class MeasureWidths:
    """The measurement as a function of a folder, which is not used. `Cluster.call` can pickle and run it."""

    job: ProbeJob
    cluster: ClusterSpec

    def __call__(self, _folder: Path) -> Widths:
        """Measure the widths on the device that the recipe gives a worker."""
        return probe_widths(self.job, device_of(self.cluster.gpus_per_worker))


def train_in_packs(
    ready: ReadySweep,
    folder: SweepFolder,
    cluster: Cluster,
    missing: Sequence[PlannedRun],
    widths: PackWidths,
    attempt: int,
    micro_batches: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, str]:
    """Train these runs as packs; return run key -> error of the run's pack, for the packs that failed.

    ``micro_batches`` has the rows per micro batch of runs that need fewer than the recipe says; they are trained alone.
    Packs that the recipe's budget does not pay for are not begun, and their runs have that as their error.

    In the first attempt the packs of an earlier start go on as they were, if workers and trainers are the same; the
    other runs form new packs. If the scores of the untrained base on a task are not on disk, the first pack of the task
    computes them too.
    """
    setting = _setting(ready.spec.cluster, cluster)
    again = _packs_again(ready, folder, missing, setting) if attempt == 1 else []
    kept = {run.key for pack in again for run in pack}
    rest = [run for run in missing if run.key not in kept]
    new = pack_runs(
        rest,
        widths=widths.of(rest, cluster, attempt),
        concurrent=cluster.concurrent,
        base_tasks=(),
        work=ready.work,
        attempt=attempt,
        field_of=kept_together(ready.spec.search),
    )
    unscored = [task for task in ready.data if not ready.base_scores(folder, task).exists()]
    packs = named([*again, *(pack.runs for pack in new)], unscored, attempt)
    keys = [[run.key for run in pack.runs] for pack in packs]
    write_json(folder.packs, {"setting": setting, "packs": keys})
    if ready.spec.cluster.kind == "ray":  # its workers may be on other nodes
        for file in (ready.base.path, *map(Path, ready.data_files.values())):
            objects.share(file)
    spending = widths.spending
    train, failures, begun = PackTrainer(), dict[str, str](), list[Pack]()  # the base is freed with the trainer
    for portion in spending.portions(packs, cluster.concurrent):
        with spending.metered(lambda: cluster.news.trainers):
            failures |= cluster.run_packs(pack_jobs(ready, folder, portion, micro_batches), train)
        begun += portion
        folder.fetch()
    failed = {run.key: failures[pack.name] for pack in packs if pack.name in failures for run in pack.runs}
    return failed | spending.left_out(packs, begun)


def _packs_again(
    ready: ReadySweep, folder: SweepFolder, missing: Sequence[PlannedRun], setting: Mapping[str, Any]
) -> list[list[PlannedRun]]:
    recorded = read_json(folder.packs)
    if not isinstance(recorded, dict) or recorded.get("setting") != setting:
        return []
    if not are_packs(recorded.get("packs")):
        _log.warning("%s is not what was written; new packs are formed.", folder.packs)
        return []
    ended = {run.key: run for run in ready.runs if folder.run(run.key).ended()}
    return packs_again(recorded["packs"], missing, ended)


def _setting(spec: ClusterSpec, cluster: Cluster) -> dict[str, Any]:
    """Return the part of recipe and cluster on which the packs of a sweep depend."""
    chosen = spec.model_dump(include={"pack", "workers", "gpus_per_worker"})
    return chosen | {"concurrent": cluster.concurrent}


def pack_jobs(
    ready: ReadySweep, folder: SweepFolder, packs: Sequence[Pack], micro_batches: Mapping[str, int]
) -> list[PackJob]:
    """Return one job per pack."""
    judged = contest(ready.spec.search, ready.runs)
    return [
        PackJob(
            folder=str(folder.path),
            base_path=str(ready.base.path),
            base_fingerprint=ready.base.fingerprint,
            data=ready.data_files,
            engine=ready.spec.trained_by,
            pack=pack,
            contest=judged and judged.only(pack.runs),
            shortcuts=ready.shortcuts,
            commit=own_commit(),
            micro_batch=min((micro_batches[run.key] for run in pack.runs if run.key in micro_batches), default=None),
        )
        for pack in packs
    ]
