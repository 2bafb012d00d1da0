"""What a night has told, on disk: before a message is sent that it will be, and afterwards what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.files import read_json, write_json

NAME = "told.json"
ABOUT = "about to tell"


class Records:
    """The records of one night's folder, by the ids of messages.

    A message that was about to be told when the process was killed may have arrived: it is sent again under its id.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / NAME

    def of(self, message_id: str) -> dict[str, Any] | None:
        """Return the record of a message, or None."""
        record = self._all().get(message_id)
        return record if isinstance(record, dict) and isinstance(record.get("status"), str) else None

    def write(self, message_id: str, record: dict[str, Any]) -> None:
        """Keep a record, on disk when this returns; OSError if that is not possible."""
        write_json(self._file, {**self._all(), message_id: record})

    def _all(self) -> dict[str, Any]:
        try:
            content = read_json(self._file)
        except OSError:  # people are told all the same, and `write` says what is wrong
            content = None
        return content if isinstance(content, dict) else {}
