"""Print what in a sweep's folder is stale, and how large it is; delete it with --delete."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from rich.console import Console

from jobs.command import run_job
from orchestrator.errors import RunError
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import lost_output, say
from orchestrator.store.lease import driver_of, hold
from orchestrator.store.links import refuse_links_out
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.upkeep.clear import delete, stale_in
from orchestrator.upkeep.look import place_of
from orchestrator.upkeep.stale_lines import lines_of


def main(spec: SweepSpec, command: str, console: Console, *, delete_it: bool, as_data: bool) -> int:
    """List what is stale; with ``delete_it`` hold the sweep's lease and delete what was listed."""
    folder = SweepFolder.of(spec)
    sweep_command = command.replace("jobs/gc.py", "jobs/sweep.py", 1).replace(" --delete", "").replace(" --json", "")
    refuse_links_out(folder.path)
    driver = None if delete_it else driver_of(folder.path)
    rows = stale_in(spec, folder, sweep_command)
    deleting = delete_it and bool(rows)  # without anything stale there may be no folder
    with hold(folder.path) if deleting else nullcontext():
        if deleting:
            rows = stale_in(spec, folder, sweep_command)  # a driver may have changed the folder since
        if not as_data:
            for line in lines_of(rows, folder.path, driver[0] if driver else None, deleting=delete_it):
                say(console, line)
            _refuse_lost_output()
        if deleting:
            delete(folder, rows)
    if as_data:
        content = {"folder": place_of(folder), "deleted": delete_it, "bytes": sum(row.size for row in rows)}
        say(console, json.dumps(content | {"stale": [asdict(row) for row in rows]}, indent=1))
        _refuse_lost_output()
    return 0


def _refuse_lost_output() -> None:
    if error := lost_output():
        raise RunError(f"The list could not be printed: {error}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    parser.add_argument("--delete", action="store_true", dest="delete_it", help="delete what is listed")
    parser.add_argument("--json", action="store_true", dest="as_data", help="print one JSON object, for scripts")


if __name__ == "__main__":
    sys.exit(run_job("gc", str(__doc__), main, add_options=add_options))
