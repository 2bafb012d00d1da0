"""Print what a recipe would train, on how many workers, for how long and at what cost; start nothing."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.errors import RunError
from orchestrator.estimate.estimate import as_json, estimate
from orchestrator.estimate.model_shapes import shape_of
from orchestrator.estimate.table import print_plan
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import lost_output, say


def main(
    spec: SweepSpec, command: str, console: Console, *, as_data: bool, tflops: float | None, price: float | None
) -> int:
    """Estimate the sweep and print the estimate."""
    del command
    plan = estimate(spec, *shape_of(spec.model), tflops=tflops, price=price)
    if as_data:
        say(console, json.dumps(as_json(plan), indent=1))
    else:
        print_plan(plan, console)
    if error := lost_output():  # this job does nothing but print, so a lost output is a failure
        raise RunError(f"The plan could not be printed: {error}")
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    parser.add_argument("--json", action="store_true", dest="as_data", help="print one JSON object, for scripts")
    parser.add_argument("--tflops", type=_positive, help="speed of one worker, in 10^12 operations per second")
    parser.add_argument("--price", type=_positive, help="price of one worker per hour")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(run_job("plan", str(__doc__), main, add_options=add_options))
