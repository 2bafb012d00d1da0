"""Print what in a sweep's folder and its nights is stale, and how large it is; delete it with --delete."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from orchestrator.store.nights_folder import NIGHTS, NightsFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.upkeep.clear import delete, stale_in
from orchestrator.upkeep.look import place_of
from orchestrator.upkeep.stale import Stale
from orchestrator.upkeep.stale_lines import lines_of


def main(spec: SweepSpec, command: str, console: Console, *, delete_it: bool, as_data: bool) -> int:
    """List what is stale; with ``delete_it`` hold the leases of the sweep and its nights and delete what was listed."""
    folder = SweepFolder.of(spec)
    nights = NightsFolder.of(spec)
    leases = [nights.lease, folder.path] if nights.have_begun() else [folder.path]  # in the order of a night
    driver = None if delete_it else next(filter(None, map(driver_of, leases)), None)
    sweep_command = command.replace("jobs/gc.py", "jobs/sweep.py", 1).replace(" --delete", "").replace(" --json", "")
    refuse_links_out(folder.path)
    rows = _stale(spec, folder, sweep_command, leases)
    deleting = delete_it and bool(rows)  # without anything stale there may be no folder
    with _held(leases if deleting else []):
        if deleting:
            rows = _stale(spec, folder, sweep_command, leases)  # a driver may have changed the folder since
        if not as_data:
            for line in lines_of(rows, folder.path, driver[0] if driver else None, deleting=delete_it):
                say(console, line)
            _refuse_lost_output()
        if deleting:
            delete(folder, rows)
    if as_data:
        say(console, json.dumps(_content(folder, rows, deleted=delete_it), indent=1))
        _refuse_lost_output()
    return 0


def _refuse_lost_output() -> None:
    if error := lost_output():
        raise RunError(f"The list could not be printed: {error}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this job."""
    parser.add_argument("--delete", action="store_true", dest="delete_it", help="delete what is listed")
    parser.add_argument("--json", action="store_true", dest="as_data", help="print one JSON object, for scripts")


@contextmanager
def _held(folders: Sequence[Path]) -> Iterator[None]:
    """Within: this process holds the lease of each folder; HeldError names the process that holds a lease."""
    with ExitStack() as leases:
        for folder in folders:
            leases.enter_context(hold(folder))
        yield


def _stale(spec: SweepSpec, folder: SweepFolder, sweep_command: str, leases: Sequence[Path]) -> list[Stale]:
    """Return what is stale; without the lease of nights nothing of a first night, which may have begun since."""
    rows = stale_in(spec, folder, sweep_command)
    return rows if len(leases) > 1 else [row for row in rows if not row.name.startswith(f"{NIGHTS}/")]


def _content(folder: SweepFolder, rows: Sequence[Stale], *, deleted: bool) -> dict[str, object]:
    content = {"folder": place_of(folder), "deleted": deleted, "bytes": sum(row.size for row in rows)}
    return content | {"stale": [asdict(row) for row in rows]}


if __name__ == "__main__":
    sys.exit(run_job("gc", str(__doc__), main, add_options=add_options))
