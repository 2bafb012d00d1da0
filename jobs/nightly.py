"""Rerun a sweep as tonight's night: a canary, the frontier, a verdict and a page; 1 if it is worse, or incomplete."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import add_log_option, logged_as, run_job
from orchestrator.recipe.spec import SweepSpec


def main(spec: SweepSpec, command: str, console: Console, *, night: str | None = None, log: str = "text") -> int:
    """Run the night of the date ``night`` (YYYY-MM-DD); None is today."""
    from orchestrator.nightly.run import run_night

    with logged_as(log, console) as printed:
        return run_night(spec, night, command, printed)


if __name__ == "__main__":
    sys.exit(run_job("nightly", str(__doc__), main, add_options=add_log_option, own_words=("night",)))
