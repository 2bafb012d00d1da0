"""Print what a recipe would train, on how many workers, for how long and at what cost; start nothing."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.errors import InputError, RunError
from orchestrator.estimate.costs import START_SECONDS
from orchestrator.estimate.estimate import as_json, estimate
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.estimate.simulate import Fleet, trainers_per_node
from orchestrator.estimate.table import print_plan
from orchestrator.estimate.terms import Terms
from orchestrator.prices.table import Price, accelerator, table_price, worker_price
from orchestrator.recipe.cluster_section import workers_per_gpu
from orchestrator.recipe.frozen import with_values
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import lost_output, say
from orchestrator.store.sweep_folder import SweepFolder

GPUS = r"(?:(?P<number>[1-9]\d*)x)?(?P<name>[^\s]+)"
"""``a100-80gb``, or with how many there are at a time ``8xa100-80gb``."""


def main(
    spec: SweepSpec,
    command: str,
    console: Console,
    *,
    as_data: bool,
    tflops: float | None,
    price: float | None,
    **wishes: Any,
) -> int:
    """Estimate the sweep and print the estimate."""
    del command
    spec, number = _with_gpu(spec, **wishes)
    terms = _terms(spec, price, **wishes)
    folder = SweepFolder.of(spec)
    spec = _at_a_time(spec, number, terms.fleet)
    plan = estimate(spec, *shape_of(spec.model), tflops=tflops, terms=terms, folder=folder)
    if as_data:
        say(console, json.dumps(as_json(plan), indent=1))
    else:
        print_plan(plan, console)
    if error := lost_output():  # this job does nothing but print, so a lost output is a failure
        raise RunError(f"The plan could not be printed: {error}")
    return 0


def _with_gpu(
    spec: SweepSpec, *, gpu: str | None, spot: bool, prices: str | None, **_: Any
) -> tuple[SweepSpec, int | None]:
    """Return the recipe with the options' accelerator, and how many of it train at a time, if the option says so."""
    cluster = spec.cluster
    named = re.fullmatch(GPUS, gpu) if gpu is not None else None
    if gpu is not None and named is None:
        raise InputError(f"--gpu {gpu!r} is no accelerator: give --gpu a100-80gb, or with their number 8xa100-80gb.")
    name = named["name"] if named else cluster.gpu
    if name is None:
        if spot:
            raise InputError("--spot is a kind of price: give --gpu NAME too, or cluster.gpu in the recipe.")
        return spec, None
    if not cluster.gpus_per_worker:
        raise InputError(
            f"{name} is a GPU, and with cluster.gpus_per_worker=0 workers train on CPUs: give "
            "cluster.gpus_per_worker=1."
        )
    changes = {"gpu": name, "spot": spot or cluster.spot, "prices": prices or cluster.prices}
    spec = with_values(spec, {f"cluster.{key}": value for key, value in changes.items()})
    accelerator(name, spec.cluster.prices)
    return spec, int(named["number"]) if named and named["number"] else None


def _at_a_time(spec: SweepSpec, gpus: int | None, fleet: Fleet | None) -> SweepSpec:
    """Return the recipe with as many trainers as these GPUs, or the simulated nodes, have room for.

    A number in the recipe stays: a sweep has no more trainers.
    """
    cluster = spec.cluster
    if cluster.max_concurrent != "auto" or (gpus is None and fleet is None):
        return spec
    if gpus is None:
        return with_values(spec, {"cluster.max_concurrent": fleet.trainers if fleet else 1})
    trainers = gpus * workers_per_gpu(cluster) // cluster.workers
    if not trainers:
        raise InputError(f"{gpus} GPUs have no room for one trainer of cluster.workers={cluster.workers} workers.")
    return with_values(spec, {"cluster.max_concurrent": trainers})


def _terms(spec: SweepSpec, price: float | None, *, budget: float | None, simulate: int | None, **fleet: Any) -> Terms:
    """Return what the options and the recipe say about machines and money; an option goes before a key."""
    cluster = spec.cluster
    line = accelerator(cluster.gpu, cluster.prices) if cluster.gpu else None
    if price is not None:
        paid: Price | None = Price(usd=price, source="--price")
    elif fleet["gpu"] is not None or fleet["spot"]:
        paid = table_price(cluster)
    else:
        paid = worker_price(cluster)
    most = spec.budget_usd if budget is None else budget
    if most is not None and paid is None:
        raise InputError("--budget needs the price of a worker's hour: give --price USD, or --gpu NAME (and --spot).")
    nodes = None if simulate is None else _fleet(spec, simulate, line.gpus_per_node if line else None, **fleet)
    share = cluster.gpus_per_worker if line else 1
    return Terms(cluster.gpu, line, cluster.spot, paid, most, nodes, share)


def _fleet(spec: SweepSpec, nodes: int, gpus: int | None, *, reclaim_per_hour: float, seed: int, **_: Any) -> Fleet:
    """Return the nodes to simulate; a node without a line in the price table has room for one trainer."""
    workers = spec.cluster.workers
    room = workers if gpus is None else gpus * workers_per_gpu(spec.cluster)
    each, wide = trainers_per_node(room, workers)
    if nodes < wide:
        raise InputError(f"--simulate {nodes}: a trainer of {workers} workers takes {wide} such nodes.")
    return Fleet(
        nodes=nodes // wide,
        trainers_per_node=each,
        reclaims=reclaim_per_hour * wide,
        checkpoint=spec.engine.checkpoint_seconds,
        start=START_SECONDS if spec.cluster.kind == "ray" else 0.0,
        seed=seed,
        limit=None if spec.cluster.max_concurrent == "auto" else spec.cluster.max_concurrent,
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    parser.add_argument("--json", action="store_true", dest="as_data", help="print one JSON object, for scripts")
    parser.add_argument("--tflops", type=_positive, help="speed of one worker, in 10^12 operations per second")
    parser.add_argument("--price", type=_positive, help="price of one worker per hour, in USD")
    parser.add_argument("--gpu", help="accelerator in the price table, for example a100-80gb or 8xa100-80gb")
    parser.add_argument("--spot", action="store_true", help="the price of spot nodes, not of on-demand ones")
    parser.add_argument("--prices", metavar="FILE", help="YAML with lines over the packaged price table")
    parser.add_argument("--budget", type=_positive, metavar="USD", help="the most that the sweep may cost")
    parser.add_argument("--simulate", type=_whole, metavar="NODES", help="run the schedule on so many nodes")
    parser.add_argument(
        "--reclaim-per-hour", type=_share, default=0.0, metavar="P", help="reclaims of a node per hour, on average"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws when nodes are reclaimed")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not 0 or a positive number")
    return value


def _whole(text: str) -> int:
    value = int(text)
    if not 0 < value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text} is not a number of nodes from 1 to 100,000")
    return value


if __name__ == "__main__":
    sys.exit(run_job("plan", str(__doc__), main, add_options=add_options))
