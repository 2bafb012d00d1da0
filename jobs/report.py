"""Write the report again from the files of a sweep's folder; train, summarise and merge nothing."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.recipe.spec import SweepSpec
from orchestrator.report.from_files import report_again
from orchestrator.say import say
from orchestrator.store.links import refuse_links_out
from orchestrator.store.sweep_folder import SweepFolder


def main(spec: SweepSpec, command: str, console: Console) -> int:
    """Write the report and print its path."""
    first = command.replace("jobs/report.py", "jobs/sweep.py", 1)
    folder = SweepFolder.of(spec)
    folder.fetch()
    refuse_links_out(folder.path)
    page = report_again(folder.path, first)
    say(console, f"report: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(run_job("report", str(__doc__), main))
