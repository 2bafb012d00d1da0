"""Rerun a sweep as tonight's night: a canary, the frontier, a verdict and a page; 1 if it is worse, or incomplete."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.bisect_options import add_bisect_options, asked_of
from jobs.command import add_log_option, logged_as, run_job
from orchestrator.recipe.spec import SweepSpec


def main(
    spec: SweepSpec, command: str, console: Console, *, night: str | None = None, log: str = "text", **options: Any
) -> int:
    """Run the night of the date ``night`` (YYYY-MM-DD); None is today. With options of a bisection run that instead."""
    asked = asked_of(options)
    with logged_as(log, console) as printed:
        if asked is not None:
            from orchestrator.nightly.bisect.run import bisect

            return bisect(spec, command, asked, printed)
        from orchestrator.nightly.run import run_night

        return run_night(spec, night, command, printed)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    add_log_option(parser)
    add_bisect_options(parser)


if __name__ == "__main__":
    sys.exit(run_job("nightly", str(__doc__), main, add_options=add_options, own_words=("night",)))
