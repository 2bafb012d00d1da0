"""A bisection from beginning to end: its candidates, the search, and what it has to say."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.nightly.bisect.asked import Asked, cell_named
from orchestrator.nightly.bisect.candidates import CODE, Candidate, commits, interpreters
from orchestrator.nightly.bisect.recipe import cell_recipe
from orchestrator.nightly.bisect.trees import tidy
from orchestrator.nightly.bisect.trying import Bench, results, train
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say, lines_to
from orchestrator.store.lease import hold
from orchestrator.store.nights_folder import NightsFolder
from orchestrator.verdict.bisecting import Mark, Outcome, next_candidate, outcome, tries_left
from orchestrator.verdict.night import Cell
from orchestrator.verdict.oracle import Ends, Tried, marks_of
from orchestrator.wording import count

FIRST_LIMIT, LEAST_LIMIT, SLOWER = 86_400.0, 600.0, 10.0
"""Seconds that a candidate may take: the first ones, and any; later ones this many times the slowest so far."""


def bisect(spec: SweepSpec, command: str, asked: Asked, console: Console, code: Path = CODE) -> int:
    """Find the first bad candidate of a cell; return the exit code: 0 it is named, 1 it is not, and why is printed.

    What was tried is remembered in ``nights/bisect-.../``: the same command goes on where a kill has ended it, and
    trains nothing twice. ``code`` is the root of the sources. InputError for candidates or a cell that cannot be;
    HeldError if another process bisects the same.
    """
    asked.checked()
    say, nights = lines_to(console), NightsFolder.of(spec)
    cell = cell_named(asked.cell, spec) if asked.cell else _culprit(nights)
    cell_named("/".join(cell), spec)
    recipe = cell_recipe(spec, cell, asked.settings)
    candidates = _candidates(asked, code)
    folder = nights.path / f"bisect-{_digest([candidate.key for candidate in candidates], recipe)}"
    with hold(folder):
        tidy(folder / "trees")
        bench = Bench(folder, folder / "recipe.yaml", code)
        write_json(bench.recipe, recipe)  # JSON is YAML
        search = _Search(candidates, bench, [int(seed) for seed in recipe["seeds"]], bool(asked.settings), say)
        say(f"bisect: {'/'.join(cell)}, {count(len(candidates), 'candidate')} from {candidates[0].words}")
        say(f"  to {candidates[-1].words}; what was tried is in {folder}")
        search.go()
        end = outcome(len(candidates), search.marks)
        write_json(folder / "bisect.json", _as_json(cell, command, search, end))
        for line in _lines(cell, search, end):
            say(line)
    return 0 if end.first_bad is not None else 1


class _Search:
    """The search so far: the ``candidates``, the ``marks`` of those that were tried, and the reason of each mark."""

    def __init__(
        self, candidates: Sequence[Candidate], bench: Bench, seeds: Sequence[int], at_once: bool, say: Say
    ) -> None:
        self.candidates, self._bench, self._seeds, self._at_once, self._say = candidates, bench, seeds, at_once, say
        self._tried: dict[int, Tried] = {}
        self.marks: dict[int, Mark] = {}
        self.whys: dict[int, str] = {}
        self.ends: Ends | None = None
        self._why = ""  # why the last training gave no result

    def go(self) -> None:
        """Try candidates until the search is over."""
        number = len(self.candidates)
        while (index := next_candidate(number, self.marks)) is not None:
            left, candidate = tries_left(number, self.marks), self.candidates[index]
            before = self.ends
            self._tried[index] = self._remembered(candidate) or self._try(candidate, left)
            self.marks, self.whys, self.ends = marks_of(number, self._tried)
            self._say(f"  {candidate.label}: {self.marks[index]}, {self.whys[index]}")
            if self.ends and not before:
                self._say(f"  {self.ends.line}")

    def _remembered(self, candidate: Candidate) -> Tried | None:
        content = read_json(self.file(candidate))
        return Tried.of_json(content) if isinstance(content, dict) else None

    def _try(self, candidate: Candidate, left: int) -> Tried:
        """Train the cell under a candidate; settings are trained all at once, by the first that is tried."""
        self._say(f"  trying {candidate.words}; about {count(left, 'try').replace('trys', 'tries')} left")
        begin = time.monotonic()
        tried_by, method = (self.candidates[0], candidate.key) if self._at_once else (candidate, None)
        if not (self._at_once and self._tried):
            self._why = train(tried_by, self._bench, self._limit())
        why = self._why
        seconds = round(time.monotonic() - begin, 1)
        tried = results(self._bench.sweep(tried_by), self._seeds, method, seconds)
        if not tried.runs and why:
            tried = Tried((), why, seconds)
        write_json(self.file(candidate), tried.as_json() | {"label": candidate.label})
        return tried

    def _limit(self) -> float:
        slowest = max((one.seconds for one in self._tried.values() if one.runs), default=0.0)
        return max(LEAST_LIMIT, SLOWER * slowest) if slowest else FIRST_LIMIT

    def file(self, candidate: Candidate) -> Path:
        """Return the file that remembers what a candidate gave."""
        return self._bench.folder / "tried" / f"{candidate.key}.json"

    def as_rows(self) -> list[dict[str, Any]]:
        """Return a row per candidate: its mark, None if it was not tried, and why."""
        return [
            {**asdict(candidate), "mark": self.marks.get(index), "why": self.whys.get(index, "")}
            for index, candidate in enumerate(self.candidates)
        ]


def _candidates(asked: Asked, code: Path) -> list[Candidate]:
    if asked.commits:
        return commits(asked.commits, code)
    if asked.pythons:
        return interpreters(asked.pythons)
    return [Candidate(f"s{number}", json.dumps(one), "") for number, one in enumerate(asked.settings)]


def _culprit(nights: NightsFolder) -> Cell:
    """Return the culprit of the newest night that has one; InputError if no night has."""
    nights.fetch()
    for night in reversed(nights.nights):
        content = read_json(night.night_json)
        culprit = content.get("culprit") if isinstance(content, dict) else None
        if culprit:
            return str(culprit["task"]), str(culprit["method"])
    raise InputError("No night has named a culprit: give the cell to look at, as --cell TASK/METHOD.")


def _digest(keys: Sequence[str], recipe: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([*keys, recipe]).encode()).hexdigest()[:12]


def _as_json(cell: Cell, command: str, search: _Search, end: Outcome) -> dict[str, Any]:
    first = None if end.first_bad is None else search.candidates[end.first_bad]
    return {
        "cell": list(cell),
        "command": command,
        "first_bad": None if first is None else asdict(first),
        "suspects": [search.candidates[index].label for index in end.suspects],
        "why": end.why,
        "ends": None if search.ends is None else {"kind": search.ends.kind, "line": search.ends.line},
        "candidates": search.as_rows(),
    }


def _lines(cell: Cell, search: _Search, end: Outcome) -> list[str]:
    if end.first_bad is not None:
        return [f"first bad for {'/'.join(cell)}: {search.candidates[end.first_bad].words}"]
    lines = [f"not found: {end.why}."]
    for index in end.suspects:
        why = f"; skipped: {search.whys[index]}" if search.marks.get(index) == "skip" else ""
        lines.append(f"  one of: {search.candidates[index].words}{why}")
    skipped = [index for index, mark in search.marks.items() if mark == "skip"]
    ends = [index for index in skipped if index in (0, len(search.candidates) - 1)]
    lines += [f"  {search.candidates[index].label}: {search.whys[index]}" for index in ends]
    if skipped:
        files = " ".join(str(search.file(search.candidates[index])) for index in sorted(skipped))
        lines.append(f"  to try what was skipped once more, first: rm {files}")
    return lines
