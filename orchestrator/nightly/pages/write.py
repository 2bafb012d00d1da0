"""Write the page of a night and the trend page over all nights, each whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from orchestrator.files import write_bytes
from orchestrator.nightly import words
from orchestrator.nightly.history import Row, in_order, row_of
from orchestrator.nightly.pages.links import safe_link
from orchestrator.nightly.pages.night_view import night_view
from orchestrator.nightly.pages.spark import LEFT
from orchestrator.nightly.pages.trend_view import trend_view
from orchestrator.report.environment import TEMPLATES, environment

OWN = Path(__file__).with_name("templates")
PAGE = "index.html"


def write_pages(nights_folder: Path, night: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> None:
    """Write ``<night>/index.html`` and ``index.html`` below ``nights_folder``.

    ``night`` is the content of ``night.json``; ``history`` are the rows of ``nights.jsonl``, with or without this
    night's row. A night that began the history has a page too.
    """
    write_bytes(nights_folder / str(night["night"]) / PAGE, render_night(night, history).encode())
    write_bytes(nights_folder / PAGE, render_trend(night, history).encode())


def render_night(night: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a night as text; rows of later nights are passed over."""
    until = [row for row in _whole(night, history) if str(row["night"]) <= str(night["night"])]
    return _environment().get_template("night.html.j2").render(night_view(night, until))


def render_trend(night: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> str:
    """Return the trend page as text; ``night`` is the newest night."""
    return _environment().get_template("trend.html.j2").render(trend_view(night, _whole(night, history)))


def _whole(night: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of all nights, in order, with this night's own."""
    own: Row = row_of(night)
    return in_order([*history, own])


def _environment() -> Environment:
    made = environment(OWN, TEMPLATES)
    made.filters |= {"duration": words.duration, "size": words.size, "short": words.short, "said": words.said}
    made.filters |= {
        "cell_name": words.cell_name,
        "answered": words.answered,
        "evidence": words.evidence,
        "safe_link": safe_link,
    }
    made.globals |= {"VERDICTS": words.VERDICTS, "STATUSES": words.STATUSES, "CHANGES": words.CHANGES, "LEFT": LEFT}
    return made
