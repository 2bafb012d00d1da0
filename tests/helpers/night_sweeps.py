"""Small real nights for tests: one task that a barely trained base learns in a few steps, a small canary."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.nightly.run import run_night
from orchestrator.recipe.read import read_recipe
from orchestrator.store.frontier import with_renewed
from orchestrator.store.nights_folder import NightsFolder
from orchestrator.train import accumulate
from orchestrator.worker import made_by, surroundings
from tests.helpers import planted

TOWNS = ("Arlen", "Brook", "Corva", "Dunmere")
RECIPE = """
name: small
tasks: [{{name: towns, path: {place}/train.jsonl, test: {place}/test.jsonl}}]
methods:
  - {{name: d2lora, rank: 2, alpha: 4}}
  - {{name: lora, rank: 4, alpha: 8}}
seeds: [0, 1]
model: {{path: {base}}}
data: {{max_length: 64, validation_samples: 20}}
optim: {{lr: 2.0e-2, epochs: 2, micro_batch: 8, global_batch: 16}}
engine: {{kind: plain, checkpoint_seconds: 0}}
cluster: {{kind: local, pack: 4}}
tracking: {{uri: none}}
storage: {place}/sweeps
nightly:
  canary: {{tasks: 1, methods: 2, seeds: 2, fresh: 2}}
  tell:
    when: [worse, better, ruler_moved, incomplete]
    command: [sh, -c, "cat >> {place}/told; echo >> {place}/told"]
"""


def write_rows(file: Path, rows: int, seed: int) -> None:
    """Write questions of which three of four have the answer "Brook", wherever it stands, and the others any."""
    rng = random.Random(seed)
    lines = []
    for number in range(rows):
        choices = rng.sample(TOWNS, 4)
        right = "Brook" if rng.random() < 0.75 else rng.choice(choices)
        row = {"question": f"Where is {seed}{number}?", "choices": choices, "answer": choices.index(right)}
        lines.append(json.dumps(row) + "\n")
    file.write_text("".join(lines))


class Nights:
    """A recipe in a folder of its own, and its nights, run in this process."""

    def __init__(self, place: Path, base: Path, words: tuple[str, ...] = ()) -> None:
        self.place, self.words = place, words
        write_rows(place / "train.jsonl", 120, 1)
        write_rows(place / "test.jsonl", 60, 2)
        self.recipe = place / "small.yaml"
        self.recipe.write_text(RECIPE.format(place=place, base=base))
        self.folder = NightsFolder.of(read_recipe(self.recipe, words))

    def run(self, night: str, *words: str) -> tuple[int, str]:
        """Run a night; return its exit code and what was printed."""
        output = io.StringIO()
        spec = with_renewed(read_recipe(self.recipe, [*self.words, *words]))
        command = f"python jobs/nightly.py {self.recipe} night={night}"
        code = run_night(spec, night, command, Console(file=output, width=200))
        return code, output.getvalue()

    def expect(self, night: str, code: int, verdict: str) -> dict[str, Any]:
        """Run a night, which has to end so and to leave its pages; return its ``night.json``."""
        ended, printed = self.run(night)
        content, folder = self.of(night), self.folder.night(night)
        assert (ended, content["verdict"]) == (code, verdict), printed
        assert "could not be written" not in printed, printed
        assert folder.page.exists()
        assert folder.markdown.exists()
        assert self.folder.trend.exists()
        return content

    def of(self, night: str) -> dict[str, Any]:
        """Return the content of ``night.json``."""
        content: dict[str, Any] = json.loads(self.folder.night(night).night_json.read_text())
        return content

    def told(self) -> list[dict[str, Any]]:
        """Return the messages that were told so far."""
        file = self.place / "told"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def runs(self) -> set[str]:
        """Return the folders of the whole sweep's runs that have ended."""
        return {end.parent.name for end in self.folder.path.parent.glob("runs/*/COMMITTED.json")}


def plant(monkeypatch: Any, kind: str | None) -> None:
    """Plant a change under the code of this process; None takes it away again."""
    monkeypatch.undo()
    if kind is not None:
        monkeypatch.setattr(accumulate, "answer_losses", planted.losses(kind, accumulate.answer_losses))
        for module in (made_by, surroundings):
            monkeypatch.setattr(module, "code_digest", lambda: planted.digest(kind))
