"""Pure: what people are told of a night, under which id, and whether they have to be told at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.nightly.history import was_told
from orchestrator.nightly.markdown import night_as_markdown
from orchestrator.nightly.words import VERDICTS, cell_name
from orchestrator.verdict.news import State, is_new_state


@dataclass(frozen=True)
class Message:
    """A message: its ``content`` as JSON, and its ``id``, which is the same whenever this message is sent."""

    id: str
    content: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """The bytes that are sent, and signed."""
        return json.dumps(self.content, ensure_ascii=False, allow_nan=False).encode()


def message_of(night: Mapping[str, Any], place: str) -> Message:
    """Return the message of a night; ``place`` is the path or the address of the folder ``nights``.

    ``text`` is the message as one line without markup: chats (Slack, Mattermost) show a field of this name.
    """
    date, verdict, name = str(night["night"]), str(night["verdict"]), str(night.get("name") or "sweep")
    key = hashlib.sha256(json.dumps([name, date, verdict]).encode()).hexdigest()[:32]
    at = f"{place.rstrip('/')}/{date}"
    links = {"page": f"{at}/index.html", "json": f"{at}/night.json", "trend": f"{place.rstrip('/')}/index.html"}
    content = {
        "event": f"night.{verdict}",
        "id": key,
        "night": date,
        "name": name,
        "verdict": verdict,
        "line": str(night.get("line") or ""),
        "culprit": night.get("culprit"),
        "links": links,
        "text": _text(night, name, date, links["page"]),
        "markdown": night_as_markdown(night),
    }
    return Message(key, content)


def is_due(when: Sequence[str], night: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether people have to be told of a night: of its verdict, and not of a state that they were told of.

    A state is a verdict and the night ``since`` which it holds. ``history`` are the rows of ``nights.jsonl``. A state
    that could not be told is due again on the next night.
    """
    told = {_state(row) for row in history if was_told(row.get("told"))}
    return is_new_state(_state(night), told, when)


def _state(row: Mapping[str, Any]) -> State:
    return str(row["verdict"]), str(row.get("since") or row["night"])


def _text(night: Mapping[str, Any], name: str, date: str, page: str) -> str:
    verdict, culprit = str(night["verdict"]), night.get("culprit")
    of = f" Culprit: {cell_name(culprit)}." if culprit else ""
    line = f"{name}, night of {date}: {VERDICTS.get(verdict, verdict)}. {night.get('line') or ''}{of} {page}"
    return " ".join(line.split()).replace("<", "\N{LESS-THAN SIGN}\u200b").replace("@", "@\u200b")
