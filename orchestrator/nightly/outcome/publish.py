"""Show a night to people: files and pages, one message, MLflow. What fails here is said, and changes no verdict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator import objects
from orchestrator.addresses import without_secrets
from orchestrator.nightly.history import row_of
from orchestrator.nightly.message import is_due, message_of
from orchestrator.nightly.pages.write import write_pages
from orchestrator.nightly.record import read_rows, write_measured, write_night, write_rows
from orchestrator.nightly.step_summary import write_summary
from orchestrator.nightly.tell import tell
from orchestrator.nightly.tonight import Tonight
from orchestrator.store.identity import identity_of
from orchestrator.tracking.nights import show_nights
from orchestrator.verdict.judge import judged
from orchestrator.verdict.night import Night
from orchestrator.verdict.verdict import Verdict

AT_WORK = "telling"
"""The ``status`` of a night whose verdict is written and of which people may not have been told."""


def publish(tonight: Tonight, measured: Night, verdict: Verdict, night: dict[str, Any]) -> None:
    """Write the night's files, tell people if the verdict is news, and end the night.

    The pages are there before anybody is told of them. The night is over when ``night.json`` says so; killed before, it
    is told again under the same id.
    """
    rows, folder = read_rows(tonight.nights, tonight.say), tonight.folder
    before = [row for row in rows if row["night"] != folder.name]
    write_night(folder, night | {"status": AT_WORK})
    _pages(tonight, night, before)
    told = None
    if is_due(tonight.spec.nightly.tell.when, night, before):
        message = message_of(night, _place(tonight))
        told = tell(tonight.spec.nightly.tell, message, folder.path, tonight.say).content()
    night = night | {"told": told}
    people_know = bool(told and told["status"] == "told")
    write_measured(folder, judged(measured, verdict, people_know))
    write_night(folder, night)
    write_rows(tonight.nights, [*before, row_of(night)])
    _pages(tonight, night, before)
    _unfailing(tonight, "the summary", lambda: write_summary(folder.path, night, tonight.say))
    _unfailing(tonight, "MLflow", lambda: _track(tonight))
    tonight.say(f"{tonight.spec.name}, night of {folder.name}: {night['line']}")
    tonight.say(f"page: {folder.page}")


def _pages(tonight: Tonight, night: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    _unfailing(tonight, "the pages", lambda: write_pages(tonight.nights.path, night, rows))


def _track(tonight: Tonight) -> None:
    show_nights(tonight.spec, identity_of(tonight.sweep), tonight.command, tonight.nights.path, tonight.say)


def _unfailing(tonight: Tonight, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except Exception as error:  # of any kind: the night has its verdict, and people are told why something is missing
        tonight.say(f"{what} could not be written: {without_secrets(str(error)) or type(error).__name__}")


def _place(tonight: Tonight) -> str:
    return objects.address_of(tonight.nights.path) or str(tonight.nights.path)
