"""Train every run of a recipe that has not ended; then write summary, champions and report."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import add_log_option, logged_as, run_job
from orchestrator.recipe.spec import SweepSpec


def main(spec: SweepSpec, command: str, console: Console, *, log: str = "text") -> int:
    """Run the sweep."""
    from orchestrator.sweep import run_sweep

    with logged_as(log, console) as printed:
        return run_sweep(spec, command, printed)


if __name__ == "__main__":
    sys.exit(run_job("sweep", str(__doc__), main, add_options=add_log_option))
