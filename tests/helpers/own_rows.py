"""Files of your own with questions about colours, and what is said where their rows are refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task
from orchestrator.errors import InputError

Row = dict[str, Any]
COLOURS = ["red", "green", "blue", "grey"]


def colour_row(n: int, answer: Any) -> Row:
    return {"question": f"Which of {n}?", "choices": COLOURS, "answer": answer}


def colour_task(folder: Path, rows: list[Row], **keys: Any) -> Any:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return make_task("mine", path=path, **keys)


def refusal(folder: Path, rows: list[Row], **keys: Any) -> str:
    """Return the one message, which skipping does not change and which does not offer it."""
    messages = []
    for skip in (False, True):
        with pytest.raises(InputError) as caught:
            split_examples(colour_task(folder, rows, **keys), skip_bad_rows=skip)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "skip" not in messages[0]
    return messages[0]


def advised(message: str) -> list[dict[str, Any]]:
    """Return the keys that a message says to write, as YAML reads them, each advice for itself."""
    return [yaml.safe_load(key) for key in re.findall(r"(?:choices: \[.*?\]|answer_base: \d)", message)]


def right_answers(splits: Splits) -> dict[str, str]:
    """Return the right answer of each question."""
    return {e.prompt: e.choices[e.answer].strip() for each in splits.by_name().values() for e in each}
