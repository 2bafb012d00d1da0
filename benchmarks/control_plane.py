"""(e) Control plane: the seconds that a sweep of 64 runs spends around training, in Tune, Train and MLflow."""

import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring.measure import ITSELF, Result, Target, alone, compare
from benchmarks.measuring.tree_cost import Cost, tree_cost

BENCH = "control_plane"
RUNS, WIDTH, PEER_RUNS, AT_ONCE = 64, 8, 4, 2
LIMIT_SECONDS = 60.0
SHARE = 0.02  # of the seconds of a sweep that does train
LIMIT = 900.0  # seconds of one process

Say = Callable[[str], None]
Samples = dict[str, list[float]]


def measure(quick: bool, say: Say) -> list[Result]:
    """Time the no-op sweep, and the peer with fewer runs; each in a fresh process, in turn."""
    rounds, runs, peers = (1, 16, 2) if quick else (3, RUNS, PEER_RUNS)
    place = Path(tempfile.mkdtemp(prefix="control-"))
    ours: Samples = {}
    single: Samples = {}
    peer: Samples = {}
    try:
        for round_ in range(rounds):
            for samples, width in ((ours, WIDTH), (single, 1)):
                _add(samples, *_sample(place / f"ours-{round_}-{width}", "no_op_sweep", runs, width))
                say(f"round {round_ + 1} of {rounds}: ours, packs of {width} {_told(samples)}")
            _add(peer, *_sample(place / f"peer-{round_}", "no_op_peer", peers, AT_ONCE))
            say(f"round {round_ + 1} of {rounds}: the peer, {peers} runs {_told(peer)}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return rows(ours, single, peer, runs, peers, judged=not quick)


def rows(ours: Samples, single: Samples, peer: Samples, runs: int, peers: int, *, judged: bool) -> list[Result]:
    """Return the rows: the no-op sweep and its limit, its parts, the extrapolated peer, a sweep 50 times as long."""
    case, whole = f"{runs} runs that do nothing", ours["whole"]
    limit = Target(LIMIT_SECONDS, "at most", ITSELF) if judged else None
    note = f"from the command to its end: imports, Ray, packs of {WIDTH} runs, MLflow on SQLite"
    results = [alone(BENCH, case, "ours", whole, unit="s", target=limit, note=note)]
    alike = "the same with a pack, and so a Tune trial, for each run"
    results.append(alone(BENCH, case, "ours, packs of one run", single["whole"], unit="s", note=alike))
    results += [alone(BENCH, case, f"ours: {part}", values, unit="s") for part, values in sorted(_parts(ours).items())]
    results.append(alone(BENCH, case, "ours: CPU of the process tree", ours["cpu"], unit="CPU s"))
    arms = {"ours": whole, "a TorchTrainer a run": extrapolated(peer, runs, peers)}
    told = f"extrapolated from {peers} runs, {AT_ONCE} at once: their seconds a run, and Ray's start and imports once"
    results += compare(
        BENCH, f"{case}, against", arms, reference="a TorchTrainer a run", unit="s",
        notes={"a TorchTrainer a run": told},
    )  # fmt: skip
    minutes = [seconds / SHARE / 60 for seconds in whole]
    words = f"{runs} runs that train for this long together have {SHARE:.0%} around them; shorter sweeps have more"
    results.append(alone(BENCH, case, f"a sweep of which it is {SHARE:.0%}", minutes, unit="min", note=words))
    return results


def extrapolated(peer: Samples, runs: int, peers: int) -> list[float]:
    """Return the peer's seconds for ``runs`` runs: the seconds of its trials grow with the runs, all others do not."""
    return [whole - packs + packs / peers * runs for whole, packs in zip(peer["whole"], peer["packs"], strict=True)]


def _parts(samples: Samples) -> Samples:
    """Return the seconds of each part that the sweep timed itself, and the rest of the whole: start-up and imports."""
    inside = {part: values for part, values in samples.items() if part not in ("whole", "cpu")}
    rest = [whole - sum(parts) for whole, *parts in zip(samples["whole"], *inside.values(), strict=True)]
    return inside | {"imports and the rest": rest}


def _sample(out: Path, module: str, *words: int) -> tuple[Cost, dict[str, float]]:
    """Run one module of `control_arms` in a fresh process; return its cost and the seconds of its parts."""
    out.mkdir(parents=True)
    command = [sys.executable, "-m", f"benchmarks.control_arms.{module}", str(out), *map(str, words)]
    cost = tree_cost(command, out / "log.txt", limit=LIMIT)
    parts: dict[str, float] = json.loads((out / "parts.json").read_text())
    shutil.rmtree(out)
    return cost, parts


def _add(samples: Samples, cost: Cost, parts: dict[str, float]) -> None:
    for name, value in itertools.chain(parts.items(), (("whole", cost.wall), ("cpu", cost.cpu))):
        samples.setdefault(name, []).append(value)


def _told(samples: Samples) -> str:
    return ", ".join(f"{name} {values[-1]:.1f}" for name, values in samples.items())
