"""Bring back the champion that a task's champion has replaced: ``python jobs/roll_back.py RECIPE task=TASK``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.recipe.spec import SweepSpec


def main(spec: SweepSpec, command: str, console: Console, *, task: str | None) -> int:
    """Roll back the champion of one task."""
    from orchestrator.driver.roll_back import roll_back_champion
    from orchestrator.say import lines_to

    return roll_back_champion(spec, command, task, lines_to(console))


if __name__ == "__main__":
    sys.exit(run_job("roll_back", str(__doc__), main, own_words=("task",)))
