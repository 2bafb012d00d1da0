"""Pure: a night as Markdown, for a step summary or a chat; foreign text in it is text, never markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.nightly.words import (
    CHANGES,
    COUNTS,
    STATUSES,
    VERDICTS,
    answered,
    cell_name,
    duration,
    rank_of,
    said,
    short,
)
from orchestrator.wording import NOTHING, between, between_points, count, p_value, percent, points

MOST_CELLS, MOST_FLIPS, LONGEST = 60, 10, 300
"""How many cells and flipped items are listed, and how many characters of a text are kept: a page has the rest."""
_MARKUP = re.compile(r"([\\`*_\[\]~#])")
_SPACE = re.compile(r"[\s\x00-\x1f\x7f\u2028\u2029]+")


def night_as_markdown(night: Mapping[str, Any]) -> str:
    """Return the content of a ``night.json`` as Markdown: verdict, culprit, changes, cells, frontier, commands."""
    verdict = str(night["verdict"])
    cost = night.get("cost") or {}
    parts = [
        f"## {escaped(night.get('name') or 'sweep')}, night of {escaped(night['night'])}: "
        f"{escaped(VERDICTS.get(verdict, verdict))}",
        escaped(night.get("line") or ""),
        escaped(night.get("broken") or ""),
        _counts(night.get("counts") or {}),
        *_culprit(night.get("culprit")),
        *_changes("What changed", night.get("changed") or ()),
        *_cells(night.get("cells") or ()),
        *_confirmed(night.get("confirmed")),
        *_frontier(night.get("frontier")),
        *_champions(night.get("champions") or ()),
        f"The night took {duration(cost.get('seconds'))}, its training {duration(cost.get('train_seconds'))}"
        + (f", at ${cost['usd']:.2f}." if cost.get("usd") is not None else "."),
        *_commands(night.get("commands") or {}),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: object) -> str:
    """Return Markdown that shows the text unchanged, on one line, also within a table.

    A mention (``@everyone``) and an address get an invisible space, so that a chat neither calls anybody nor makes a
    link of them.

    >>> escaped("<b>|*x*")
    '&lt;b&gt;&#124;\\\\*x\\\\*'
    """
    line = _cut(_SPACE.sub(" ", str(text)).strip())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = _MARKUP.sub(r"\\\1", line).replace("|", "&#124;")
    return line.replace("@", "@\u200b").replace("://", ":\u200b//")


def quoted(text: object) -> str:
    """Return a text as code within a line (not for tables, which split at ``|``); a mention calls nobody there."""
    line = _cut(_SPACE.sub(" ", str(text)).strip())
    if not line:
        return NOTHING
    ticks = "`" * (_longest_ticks(line) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def fenced(text: object) -> str:
    """Return a text as a block of code, behind a fence that the text cannot end."""
    ticks = "`" * max(3, _longest_ticks(str(text)) + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _counts(counts: Mapping[str, Any]) -> str:
    said_of = [f"{counts[name]} {words}" for name, words in COUNTS if counts.get(name) and name != "cells"]
    return f"{count(int(counts.get('cells') or 0), 'cell')}: {', '.join(said_of) or 'none judged'}."


def _culprit(culprit: Mapping[str, Any] | None) -> list[str]:
    if not culprit:
        return []
    parts = [f"### The culprit: {escaped(cell_name(culprit))}"]
    if culprit.get("first_bad"):
        parts.append(f"First bad night: {escaped(culprit['first_bad'])}.")
    parts += _changes("Changed since the last good night", culprit.get("changed") or ())
    flips = list(culprit.get("flips") or ())
    if flips:
        lines = [
            f"- item {escaped(flip.get('index'))}: {quoted(flip.get('question') or '')}: "
            f"{escaped(answered(flip.get('before')))} became {escaped(answered(flip.get('after')))}"
            for flip in flips[:MOST_FLIPS]
        ]
        parts.append("\n".join(lines))
    for words, key in (("Repeat it:", "command"), ("Find the change:", "bisect")):
        if culprit.get(key):
            parts += [words, fenced(said(culprit[key]))]
    return parts


def _changes(title: str, changes: Sequence[Mapping[str, Any]]) -> list[str]:
    if not changes:
        return []
    rows = [
        [
            escaped(f"{CHANGES.get(str(change.get('what')), change.get('what'))} {change.get('name') or ''}"),
            escaped(short(change.get("before"))),
            escaped(short(change.get("after"))),
            escaped(change.get("since") or NOTHING),
        ]
        for change in changes
    ]
    return [f"**{title}**", _table(("What", "Before", "Tonight", "Since"), rows)]


def _cells(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    if not cells:
        return []
    ranked = sorted(cells, key=rank_of)
    header = ("Cell", "Status", "Tonight", "Baseline", "Difference", "p", "Nights in a row")
    parts = ["**Cells**", _table(header, [_cell(cell) for cell in ranked[:MOST_CELLS]])]
    if len(ranked) > MOST_CELLS:
        parts.append(f"and {count(len(ranked) - MOST_CELLS, 'more cell')} on the page.")
    return parts


def _cell(cell: Mapping[str, Any]) -> list[str]:
    baseline = cell.get("baseline") or {}
    nights = baseline.get("nights") or 0
    over = f" ({count(nights, 'night')}: {between(baseline.get('interval'))})" if nights else ""
    interval = f" ({between_points(cell['interval'], 2)})" if cell.get("interval") else ""
    row = cell.get("nights_in_row")
    return [
        escaped(cell_name(cell)),
        escaped(STATUSES.get(str(cell["status"]), cell["status"])),
        percent(cell.get("accuracy")),
        f"{percent(baseline.get('mean'))}{over}",
        f"{points(cell.get('difference'), 2)}{interval}",
        p_value(cell.get("p")).replace("<", "&lt;"),
        NOTHING if row is None else str(row),
    ]


def _confirmed(confirmed: Mapping[str, Any] | None) -> list[str]:
    if not confirmed:
        return []
    holds = "holds" if confirmed.get("holds") else "does not hold"
    return [
        f"The confirmation with fresh seeds {holds}: {points(confirmed.get('difference'), 2)} points, "
        f"p {p_value(confirmed.get('p')).replace('<', '&lt;')}."
    ]


def _frontier(frontier: Mapping[str, Any] | None) -> list[str]:
    if not frontier:
        return []
    trained, kept = escaped(said(frontier.get("trained") or 0)), escaped(said(frontier.get("kept") or 0))
    why = f" {escaped(frontier['why'])}" if frontier.get("why") else ""
    return [f"Frontier: {trained} trained, {kept} kept.{why}"]


def _champions(champions: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        f"- champion of {escaped(one.get('task'))}: {escaped(one.get('decision'))}"
        + (f", {escaped(one['why'])}" if one.get("why") else "")
        for one in champions
    ]
    return ["\n".join(lines)] if lines else []


def _commands(commands: Mapping[str, Any]) -> list[str]:
    parts: list[str] = []
    for words, key in (("The night again:", "again"), ("Roll back:", "roll_back"), ("Accept this state:", "accept")):
        if commands.get(key):
            parts += [words, fenced(commands[key])]
    return parts
