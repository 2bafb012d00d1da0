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


def test_nights_in_a_row_say_what_changed_and_train_no_more_than_they_must(
    tmp_path: Path, small_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(small_base, base)
    nights = Nights(tmp_path, base)

    code, printed = nights.run("2026-11-01")  # the first night trains the sweep
    assert code == 0, printed
    first = nights.of("2026-11-01")
    assert (first["verdict"], first["frontier"]["trained"]) == ("within_noise", 4)
    assert {decision["decision"] for decision in first["champions"]} == {"first"}
    runs = nights.runs()

    code, printed = nights.run("2026-11-02")  # nothing changed
    same = nights.of("2026-11-02")
    assert (code, same["verdict"]) == (0, "same_bytes"), printed
    assert (same["frontier"]["trained"], same["frontier"]["kept"], nights.runs()) == (0, 4, runs)
    assert all(cell["bytes"]["equal"] for cell in same["cells"])
    assert [anchor["flips"] for anchor in same["anchors"]] == [0, 0]  # the base and the champion
    assert nights.run("2026-11-02")[0] == 0  # a night that is over
    with pytest.raises(HeldError, match="2026-11-01 is older than the night 2026-11-02"):
        nights.run("2026-11-01")

    plant(monkeypatch, HARMLESS)
    code, printed = nights.run("2026-11-03")  # bits move, and no accuracy
    moved = nights.of("2026-11-03")
    assert (code, moved["verdict"]) == (0, "within_noise"), printed
    assert [cell["bytes"]["first_step"] for cell in moved["cells"]] == [1, 1]
    assert {change["what"] for change in moved["changed"]} == {"code"}
    assert moved["frontier"]["renewed"] == dict.fromkeys(("d2lora", "lora"), "2026-11-03")
    assert moved["frontier"]["trained"] == 4
    assert len(nights.runs() - runs) == 4
    assert nights.told() == []

    plant(monkeypatch, BUG)
    code, printed = nights.run("2026-11-04")  # a bug in the loss
    worse = nights.of("2026-11-04")
    assert (code, worse["verdict"]) == (1, "worse"), printed
    assert worse["confirmed"]["holds"]
    assert worse["frontier"]["trained"] == 0
    assert worse["frontier"]["renewed"] == moved["frontier"]["renewed"]
    assert worse["culprit"]["first_bad"] == "2026-11-04"
    assert worse["culprit"]["flips"][0]["question"].startswith("Where is ")
    assert [message["verdict"] for message in nights.told()] == ["worse"]
    before = nights.runs()

    code, printed = nights.run("2026-11-05")  # and it stands
    assert (code, nights.of("2026-11-05")["verdict"]) == (1, "worse"), printed
    assert nights.of("2026-11-05")["since"] == "2026-11-04"
    assert len(nights.told()) == 1  # nothing is told twice

    plant(monkeypatch, None)
    code, printed = nights.run("2026-11-06")  # reverted, the harmless change too
    better = nights.of("2026-11-06")
    assert (code, better["verdict"]) == (0, "better"), printed
    assert better["frontier"]["renewed"] == {}  # back to the runs of the first night
    assert (better["frontier"]["trained"], nights.runs()) == (0, before)
    assert len(nights.told()) == 2

    tokenizer = json.loads((base / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["Brook"], vocabulary["Corva"] = vocabulary["Corva"], vocabulary["Brook"]
    (base / "tokenizer.json").write_text(json.dumps(tokenizer))
    code, printed = nights.run("2026-11-07")  # another tokeniser under the base
    ruler = nights.of("2026-11-07")
    assert (code, ruler["verdict"]) == (0, "ruler_moved"), printed
    assert {change["what"] for change in ruler["changed"]} == {"rows"}
    assert ruler["frontier"]["trained"] == 0
    assert "python jobs/sweep.py" in ruler["frontier"]["why"]
    rows = [json.loads(line) for line in nights.folder.rows.read_text().splitlines()]
    assert [row["verdict"] for row in rows] == [
        "within_noise", "same_bytes", "within_noise", "worse", "worse", "better", "ruler_moved",
    ]  # fmt: skip
    assert nights.folder.trend.exists()
    assert all(nights.folder.night(row["night"]).page.exists() for row in rows)


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
    assert nights.run("2026-11-01")[0] == 0

    def fail(*_: object) -> None:
        raise RuntimeError("planted: no step can be taken")

    monkeypatch.setattr("orchestrator.train.accumulate.answer_losses", fail)
    code, printed = nights.run("2026-11-02")
    broken = nights.of("2026-11-02")
    assert (code, broken["verdict"]) == (1, "incomplete"), printed
    assert "planted: no step can be taken" in broken["broken"]
    assert broken["frontier"]["trained"] == 0
    assert [message["verdict"] for message in nights.told()] == ["incomplete"]
    monkeypatch.undo()
    assert nights.run("2026-11-03")[0] == 0
    assert nights.of("2026-11-03")["baseline"] == ["2026-11-01"]
