"""Real nights in a row, in this process: nothing changed, bits moved, a bug in the loss, its end, another tokeniser."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import HeldError
from orchestrator.store.lease import hold
from tests.helpers.night_sweeps import Nights, plant
from tests.helpers.planted import BUG, HARMLESS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def swap_two_words(base: Path) -> None:
    """Let the tokeniser of a base give two words each other's numbers."""
    tokenizer = json.loads((base / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    words["Brook"], words["Corva"] = words["Corva"], words["Brook"]
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))


def test_nights_in_a_row_say_what_changed_and_train_no_more_than_they_must(
    tmp_path: Path, small_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(small_base, base)
    nights = Nights(tmp_path, base)
    first = nights.expect("2026-11-01", 0, "within_noise")
    assert (first["frontier"]["trained"], first["frontier"]["renewed"]) == (4, {})
    assert [decision["decision"] for decision in first["champions"]] == ["first"]
    runs = nights.runs()

    same = nights.expect("2026-11-02", 0, "same_bytes")
    assert (same["frontier"]["trained"], same["frontier"]["kept"], nights.runs()) == (0, 4, runs)
    assert all(cell["bytes"]["equal"] for cell in same["cells"])
    assert [(anchor["kind"], anchor["flips"]) for anchor in same["anchors"]] == [("base", 0), ("champion", 0)]
    assert nights.run("2026-11-02")[1].startswith("The night 2026-11-02 is over: same bytes")
    with pytest.raises(HeldError, match="2026-11-01 is older than the night 2026-11-02"):
        nights.run("2026-11-01")

    plant(monkeypatch, HARMLESS)
    moved = nights.expect("2026-11-03", 0, "within_noise")
    assert [cell["bytes"]["first_step"] for cell in moved["cells"]] == [1, 1]
    assert {change["what"] for change in moved["changed"]} == {"code"}
    assert moved["frontier"]["renewed"] == dict.fromkeys(("d2lora", "lora"), "2026-11-03")
    assert (moved["frontier"]["trained"], len(nights.runs() - runs), nights.told()) == (4, 4, [])

    plant(monkeypatch, BUG)
    worse = nights.expect("2026-11-04", 1, "worse")
    assert (worse["confirmed"]["holds"], worse["culprit"]["first_bad"]) == (True, "2026-11-04")
    assert (worse["frontier"]["trained"], worse["frontier"]["renewed"]) == (0, moved["frontier"]["renewed"])
    assert "Where is " in worse["culprit"]["flips"][0]["question"]
    before = nights.runs()
    again = nights.expect("2026-11-05", 1, "worse")
    assert (again["since"], again["told"]) == ("2026-11-04", None)
    assert [message["verdict"] for message in nights.told()] == ["worse"]  # nothing is told twice

    plant(monkeypatch, None)  # the harmless change goes too
    better = nights.expect("2026-11-06", 0, "better")
    assert (better["frontier"]["renewed"], better["frontier"]["trained"], nights.runs()) == ({}, 0, before)
    assert [message["verdict"] for message in nights.told()] == ["worse", "better"]

    swap_two_words(base)
    ruler = nights.expect("2026-11-07", 0, "ruler_moved")
    assert {change["what"] for change in ruler["changed"]} == {"rows"}
    assert (ruler["frontier"]["trained"], nights.runs()) == (0, before)
    rows = [json.loads(line) for line in nights.folder.rows.read_text().splitlines()]
    assert [row["verdict"] for row in rows] == [
        "within_noise", "same_bytes", "within_noise", "worse", "worse", "better", "ruler_moved",
    ]  # fmt: skip


def test_a_second_night_is_refused_while_the_first_works_and_names_it(tmp_path: Path, small_base: Path) -> None:
    nights = Nights(tmp_path, small_base)
    with hold(nights.folder.lease), pytest.raises(HeldError, match="is in use by process"):
        nights.run("2026-11-01")
    assert not nights.folder.nights


def test_a_night_whose_canary_cannot_be_trained_is_incomplete_and_enters_no_baseline(
    tmp_path: Path, small_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = Nights(tmp_path, small_base, ("nightly.canary.fresh=0", "methods=[{name: lora, rank: 4, alpha: 8}]",
                                          "nightly.canary.methods=1", "cluster.retries=0"))  # fmt: skip
    nights.expect("2026-11-01", 0, "within_noise")

    def fail(*_: object) -> None:
        raise RuntimeError("planted: no step can be taken")

    monkeypatch.setattr("orchestrator.train.accumulate.answer_losses", fail)
    broken = nights.expect("2026-11-02", 1, "incomplete")
    assert "planted: no step can be taken" in broken["broken"]
    assert broken["frontier"]["trained"] == 0
    assert [message["verdict"] for message in nights.told()] == ["incomplete"]
    monkeypatch.undo()
    assert nights.expect("2026-11-03", 0, "same_bytes")["baseline"] == ["2026-11-01"]
