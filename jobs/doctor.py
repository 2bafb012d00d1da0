"""Check cluster, tracking server, storage, versions, base and rows of a recipe: a line per check, with its remedy."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.addresses import without_secrets
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import say


def main(
    spec: SweepSpec | None, command: str, console: Console, *, as_data: bool, cluster_file: Path | None = None
) -> int:
    """Print every check as it ends; 1 if one failed."""
    del command
    from orchestrator.doctor.check import exit_code
    from orchestrator.doctor.examine import examine

    checks = []
    for check in examine(spec, cluster_file):
        checks.append(check)
        if not as_data:
            say(console, without_secrets(str(check)))
    if as_data:
        say(console, json.dumps([check.as_json() for check in checks], indent=1))
    return exit_code(checks)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    parser.add_argument("--json", action="store_true", dest="as_data", help="print one JSON list, for scripts")
    parser.add_argument(
        "--cluster-file", type=Path, metavar="FILE", help="a file of `ray up`, for example cluster.yaml"
    )


if __name__ == "__main__":
    sys.exit(run_job("doctor", str(__doc__), main, add_options=add_options, needs_recipe=False))
