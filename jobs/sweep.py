"""Train every run of a recipe that has not ended; then write summary, champions and report."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.recipe.spec import SweepSpec


def main(spec: SweepSpec, command: str, console: Console) -> int:
    """Run the sweep."""
    from orchestrator.sweep import run_sweep

    return run_sweep(spec, command, console)


if __name__ == "__main__":
    sys.exit(run_job("sweep", str(__doc__), main))
