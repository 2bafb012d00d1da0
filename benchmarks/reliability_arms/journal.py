"""The journal of a trial: one line per step that it trained, and one line per end; and what the lines tell."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

STEP, DONE = "step", "done"


@dataclass(frozen=True)
class Told:
    """What a journal tells of its trial: how often it ended, the steps that were done, and those done once more.

    ``again`` is how often the trial began to train after it had ended.
    """

    ends: int
    steps: int
    repeated: int
    again: int


def note(file: Path, word: str, step: int) -> None:
    """Append a line to the journal, in one write that a kill cannot split, and sync it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    place = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(place, (json.dumps({"word": word, "step": step}) + "\n").encode())
        os.fsync(place)
    finally:
        os.close(place)


def read(file: Path) -> list[tuple[str, int]]:
    """Return the word and the step of each line."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["word"], row["step"]) for row in rows]


def told(lines: Sequence[tuple[str, int]]) -> Told:
    """Return what the lines of one trial tell."""
    words = [word for word, _ in lines]
    steps = [step for word, step in lines if word == STEP]
    again = sum(pair == (DONE, STEP) for pair in pairwise(words))
    return Told(words.count(DONE), len(steps), len(steps) - len(set(steps)), again)
