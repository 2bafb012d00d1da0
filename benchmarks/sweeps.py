"""(b) A whole sweep of 2 tasks x 4 seeds: ours against PEFT in loops, in one process per run, and on Ray Tune.

Measured are seconds on the clock and CPU seconds of the whole process tree, from the start of a command to its end:
imports, loading, training, scoring and saving, and in our arms also MLflow and the report. Every arm is a fresh process
in a fresh folder and has the whole machine. An arm with one process uses one thread per core; in an arm with several
processes at once, each process uses one thread.
"""

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measuring.measure import Result, Target, compare, interleave
from benchmarks.measuring.tree_cost import FailedError, tree_cost
from benchmarks.sweep_arms import agreement, peers
from benchmarks.sweep_arms.case import Case, Prepared, make, recipe

BENCH = "sweeps"
LIMIT = 2400.0  # seconds of one arm
OURS, OURS_ON_RAY = "ours", "ours on Ray"
TRAINER, TUNED = "PEFT + Trainer", "PEFT, tuned loop"
PROCESSES = "a process a run, 2 at once"
TUNE, TUNE_TRAIN = "Ray Tune + PEFT", "Ray Tune + Train + PEFT"
SIDE_BY_SIDE = (OURS_ON_RAY, PROCESSES, TUNE, TUNE_TRAIN)  # arms with several processes at once, each on one core
WIDTHS = (1, 2, 4, 8)
STEPS = 120  # per run, with 64 tokens per step: so that start-up, about 15 s in every arm, is a tenth of the time
FEW = 16  # steps per run in tables of minor interest

Say = Callable[[str], None]
Measure = Callable[[], float]

NOTES = {
    OURS: "cluster.kind=local, plain engine, pack=auto; MLflow on SQLite and the report included",
    OURS_ON_RAY: "the same with cluster.kind=ray",
    TRAINER: "one process, base loaded each run, full logits, random batches; logs nothing (report_to=none)",
    TUNED: "one base, adapters swapped, length buckets, answer-only logits, fused AdamW; logs nothing",
    PROCESSES: "the Trainer script once a run, on two cores; one after another it takes about its CPU seconds",
    TUNE: "the Trainer script as trials of one CPU, 2 at once: the leanest form",
    TUNE_TRAIN: "the same, a TorchTrainer a trial, as Ray's guide to tuning with Train has it",
}


@dataclass(frozen=True)
class Plan:
    """The plan of one table: the case, the arms that do it, the rounds, the reference, and the targets."""

    case: Case
    arms: tuple[str, ...]
    rounds: int
    reference: str
    targets: Mapping[str, Sequence[Target]] = field(default_factory=dict)


def full_plans() -> list[Plan]:
    """Return the plans of a full measurement, one per table; targets are ratios of time."""
    short, few = Case(32768, 64, "lora", STEPS), Case(32768, 64, "lora", FEW)
    ladder = tuple(_width(width) for width in WIDTHS)
    on_ray = [Target(1 / 5, "at most", rival) for rival in (TUNE_TRAIN, TUNE)]
    default, tuned = Target(1 / 4, "at most", TRAINER), Target(1 / 1.5, "at most", TUNED)
    return [
        Plan(short, (OURS, TRAINER, TUNED), 3, TRAINER, {OURS: [default, tuned]}),
        Plan(short, (OURS_ON_RAY, PROCESSES, TUNE, TUNE_TRAIN), 1, TUNE_TRAIN, {OURS_ON_RAY: on_ray}),
        Plan(
            Case(8192, 64, "lora", STEPS),
            (OURS, TRAINER, TUNED),
            2,
            TRAINER,
            {OURS: [Target(1 / 2.5, "at most", TRAINER), tuned]},
        ),
        Plan(
            Case(32768, 512, "lora", STEPS // 4), (OURS, TUNED), 3, TUNED, {OURS: [Target(1 / 0.95, "at most", TUNED)]}
        ),
        Plan(Case(32768, 64, "dora", FEW), (OURS, TRAINER, TUNED), 1, TRAINER),
        Plan(few, ladder, 1, ladder[0]),
    ]


def quick_plans() -> list[Plan]:
    """Return plans with two seeds and few steps: mostly start-up, so they have no targets."""
    case = Case(32768, 64, "lora", 16, seeds=2)
    return [
        Plan(case, (OURS, TRAINER, TUNED), 1, TRAINER),
        Plan(case, (OURS_ON_RAY, TUNE, TUNE_TRAIN), 1, TUNE_TRAIN),
    ]


def measure(quick: bool, say: Say) -> list[Result]:
    """Write each case, check that losses agree, then time its arms."""
    place = Path(tempfile.mkdtemp(prefix="sweeps-"))
    try:
        return [row for plan in (quick_plans() if quick else full_plans()) for row in _table(plan, place, say)]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def command(arm: str, prepared: Prepared, out: Path) -> list[str]:
    """Return the command of an arm; our arms read their recipe from ``out``."""
    module, words = {
        TRAINER: ("peers", ["loop"]),
        PROCESSES: ("peers", ["processes"]),
        TUNED: ("peers_tuned", []),
        TUNE: ("peers_tune", ["functions"]),
        TUNE_TRAIN: ("peers_tune", ["trainers"]),
    }.get(arm, ("", []))
    if not module:
        return [sys.executable, "jobs/sweep.py", str(out / "recipe.yaml")]
    at_once = ["2"] if arm in (PROCESSES, TUNE, TUNE_TRAIN) else []
    return [sys.executable, "-m", f"benchmarks.sweep_arms.{module}", *words, str(prepared.folder), str(out), *at_once]


def cluster_of(arm: str) -> str:
    """Return the line of our recipe in which our arms differ."""
    width = arm.removeprefix(_width("")) if arm.startswith(_width("")) else "auto"
    return f"cluster: {{kind: {'ray' if arm == OURS_ON_RAY else 'local'}, pack: {width}}}\n"


def steps_of(arm: str, out: Path) -> list[int]:
    """Return the steps of each run that the arm has finished."""
    if not is_ours(arm):
        return peers.steps_done(out)
    from orchestrator.files import read_lines

    rows = read_lines(out / "sweeps" / "sweep" / "results.jsonl")
    return [row["steps"] for row in rows if row["status"] == "committed"]


def is_ours(arm: str) -> bool:
    """Return whether the arm is a sweep of this project."""
    return arm in (OURS, OURS_ON_RAY) or arm.startswith(_width(""))


def threads_of(arm: str) -> dict[str, str]:
    """Return the environment variables that set the threads of the arm's processes."""
    threads = "1" if arm in SIDE_BY_SIDE else str(os.cpu_count())
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}


def _table(plan: Plan, place: Path, say: Say) -> list[Result]:
    prepared = _prepared(plan.case, place, say)
    cpu: dict[str, list[float]] = {arm: [] for arm in plan.arms}
    arms = {arm: _timed(arm, prepared, place, cpu[arm]) for arm in plan.arms}
    say(f"{plan.case.label}: {', '.join(plan.arms)}")
    wall = interleave(arms, plan.rounds, say)
    label, reference = plan.case.label, plan.reference
    rows = compare(BENCH, label, wall, reference=reference, unit="s", targets=plan.targets, notes=NOTES)
    return rows + compare(BENCH, f"{label}, CPU of the process tree", cpu, reference=reference, unit="CPU s")


def _prepared(case: Case, place: Path, say: Say) -> Prepared:
    """Return the case on disk, written and checked on first use; cases with the same vocabulary share a base."""
    folder = place / f"{case.vocab}-{case.tokens}-{case.method}-{case.steps}-{case.seeds}"
    if (folder / "case.json").exists():
        return Prepared(folder, case)
    base = next((other / "base" for other in place.glob(f"{case.vocab}-*") if (other / "base").exists()), None)
    prepared = make(folder, case, base)
    say(f"{case.label}: {agreement.check(prepared, folder / 'cache')}")
    return prepared


def _timed(arm: str, prepared: Prepared, place: Path, cpu: list[float]) -> Measure:
    """Return a function that runs the arm in a new folder, returns the seconds, and appends CPU seconds to ``cpu``."""
    numbers = itertools.count()

    def once() -> float:
        out = place / "arms" / f"{prepared.folder.name} {arm} {next(numbers)}".replace(" ", "_").replace(",", "")
        out.mkdir(parents=True)
        (out / "recipe.yaml").write_text(recipe(prepared, out, cluster_of(arm)))
        cost = tree_cost(command(arm, prepared, out), out / "log.txt", limit=LIMIT, env=threads_of(arm))
        wanted = [prepared.case.steps] * len(prepared.runs)
        if steps_of(arm, out) != wanted:
            raise FailedError(f"{arm}: runs of {steps_of(arm, out)} steps, not {wanted}; see what it left in {out}")
        shutil.rmtree(out)
        cpu.append(cost.cpu)
        return cost.wall

    return once


def _width(width: int | str) -> str:
    return f"ours, pack={width}"
