"""Print what of a sweep is done, running, failed and left, and who works on it; change nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.errors import RunError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import lost_output, say
from orchestrator.upkeep.look import status_of
from orchestrator.upkeep.status_table import print_status


def main(spec: SweepSpec, command: str, console: Console, *, as_data: bool) -> int:
    """Look at the sweep's folder and print what is there."""
    status = status_of(spec)
    if as_data:
        say(console, json.dumps(status.as_json(), indent=1))
    else:
        print_status(status, command.replace("jobs/status.py", "jobs/sweep.py", 1), console)
    if error := lost_output():
        raise RunError(f"The status could not be printed: {error}")
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    parser.add_argument("--json", action="store_true", dest="as_data", help="print one JSON object, for scripts")


if __name__ == "__main__":
    sys.exit(run_job("status", str(__doc__), main, add_options=add_options))
