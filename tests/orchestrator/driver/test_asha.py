"""Sweeps that stop hopeless runs: what a rung leaves, what a kill and a change of the search do, and what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import InputError
from orchestrator.files import read_json
from orchestrator.store.run_folder import RunFolder
from orchestrator.worker import judging
from orchestrator.worker.run_in_training import RunInTraining
from tests.helpers.sweeps import rows_of, run, unmeasured
from tests.orchestrator.driver.test_sweep import adapters

RATES = "optim.lr=[1.0e-6, 3.0e-6, 1.0e-2, 2.0e-2]"
GRID = (RATES, "tasks=[tiny_recall]", "methods=[{name: lora, rank: 4, alpha: 8}]", "cluster.pack=4", "champions=false")
QUIET = (*GRID, "tracking.uri=none", "engine.diagnostics=false")
ASHA = "search={kind: asha, rung: 2, factor: 2}"  # a run has six steps: rungs at 2 and 4


def statuses(folder: Path) -> list[str]:
    return [row["status"] for row in rows_of(folder)]


def marks(folder: Path) -> dict[str, dict[str, Any]]:
    """Return all that is kept of rungs, by run and step."""
    return {f"{path.parents[1].name}/{path.stem}": read_json(path) for path in folder.glob("runs/*/rungs/*.json")}


def test_runs_that_are_beaten_at_a_rung_are_stopped_there_and_the_sweep_is_complete(recipe: Path) -> None:
    code, output, folder = run(recipe, *QUIET, ASHA)
    assert code == 0, output
    assert "runs on tiny_recall: judged after step 2 and 4 of 6" in output
    stopped = [row for row in rows_of(folder) if row["status"] == "stopped"]
    assert {row["status"] for row in rows_of(folder)} == {"committed", "stopped"}
    assert len(stopped) >= 2
    for row in stopped:
        place = folder / "runs" / row["run_key"]
        kept = read_json(place / "rungs" / f"{row['steps']}.json")
        (verdict,) = kept["verdicts"].values()
        assert row["validation_accuracy"] == kept["score"] == verdict["score"] < verdict["cut"]
        assert row["reason"].startswith(f"Stopped at step {row['steps']} of 6: ")
        assert row["steps"] in (2, 4)
        assert row["tokens"] > 0
        assert row["train_loss"] > 0
        assert row["train_seconds"] > 0
        assert (row["accuracy"], row["eval_loss"], row["diagnostics"]) == (None, None, None)
        assert not (place / "adapter").exists()
        assert len(RunFolder(place).metrics()) == row["steps"]
    assert not (folder / "predictions" / f"{stopped[0]['run_key']}.jsonl").exists()
    assert run(recipe, *QUIET, ASHA)[0] == 0
    assert "0 to train" in run(recipe, *QUIET, ASHA)[1]


@pytest.mark.slow
def test_packs_of_a_sweep_that_stops_runs_hold_rivals_of_one_seed_where_those_do_not_fit(recipe: Path) -> None:
    _, _, folder = run(recipe, *QUIET, ASHA, "cluster.pack=3")
    at_two = [one["verdicts"] for key, one in marks(folder).items() if key.endswith("/2")]
    assert sorted(verdict["reached"] for one in at_two for verdict in one.values()) == [2] * 4 + [4] * 4  # not 2, 3, 3


@pytest.mark.slow
def test_runs_that_are_never_beaten_end_as_those_of_a_grid_to_the_last_bit(recipe: Path, tmp_path: Path) -> None:
    tied = (*QUIET, "optim.lr=[1.0e-9, 2.0e-9, 3.0e-9, 4.0e-9]")  # too small to change an answer
    _, _, grid = run(recipe, *tied)
    _, _, asha = run(recipe, *tied, f"storage={tmp_path}/asha", ASHA)
    assert len(marks(asha)) == 16
    assert adapters(asha) == adapters(grid)
    assert [unmeasured(row) for row in rows_of(asha)] == [unmeasured(row) for row in rows_of(grid)]


@pytest.mark.slow
def test_a_grid_takes_stops_back_and_trains_those_runs_alone(recipe: Path, tmp_path: Path) -> None:
    _, _, folder = run(recipe, *QUIET, ASHA)
    before = {row["run_key"]: row for row in rows_of(folder)}
    done = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/COMMITTED.json")}
    amount = sum(row["status"] == "stopped" for row in before.values())
    code, output, _ = run(recipe, *QUIET)
    assert code == 0
    assert f"{amount} runs that another search had stopped: to be trained from the beginning" in output
    assert f"{8 - amount} done already, {amount} to train" in output
    assert statuses(folder) == ["committed"] * 8
    assert {path: path.stat().st_mtime_ns for path in done} == done
    _, _, whole = run(recipe, *QUIET, f"storage={tmp_path}/whole")
    for one, other in zip(rows_of(folder), rows_of(whole), strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)  # packed otherwise
    assert "0 to train" in run(recipe, *QUIET, ASHA)[1]
    assert statuses(folder) == ["committed"] * 8


@pytest.mark.slow
def test_another_rule_judges_anew_and_leaves_what_the_first_has_decided(recipe: Path) -> None:
    _, _, folder = run(recipe, *QUIET, ASHA)
    first = marks(folder)
    rule = next(iter(first.values()))["verdicts"].keys()
    code, output, _ = run(recipe, *QUIET, "search={kind: asha, rung: 2, factor: 4}")
    assert code == 0
    assert "that another search had stopped" in output
    stopped = [row for row in rows_of(folder) if row["status"] == "stopped"]
    assert stopped
    assert {row["steps"] for row in stopped} == {2}
    second = marks(folder)
    for row in stopped:
        verdicts = dict(second[f"{row['run_key']}/2"]["verdicts"])
        (other,) = verdicts.keys() - rule
        assert not verdicts.pop(other)["goes_on"]
        assert verdicts == first[f"{row['run_key']}/2"]["verdicts"]
    assert {key: one["score"] for key, one in second.items()} == {key: one["score"] for key, one in first.items()}


@pytest.mark.slow
def test_a_sweep_that_was_killed_after_its_verdicts_meets_them_again(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the rivals that were there have changed their minds: what was decided is not asked again."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunInTraining, "stop", killed)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, *QUIET, ASHA)
    folder = tmp_path / "sweeps" / "small"
    decided = marks(folder)
    assert decided
    assert not list(folder.glob("runs/*/STOPPED.json"))
    judged: list[float] = []
    honest = judging.judge

    def counted(score: float, scores: list[float | None], factor: int) -> object:
        judged.append(score)
        return honest(score, scores, factor)

    monkeypatch.setattr(judging, "judge", counted)
    code, _, _ = run(recipe, *QUIET, ASHA)
    assert code == 0
    after = marks(folder)
    assert {key: after[key] for key in decided} == decided
    assert len(judged) == len(after) - len(decided)


def test_a_rung_beyond_the_end_of_every_run_is_refused_before_anything_starts(recipe: Path, tmp_path: Path) -> None:
    place, tracking = f"storage={tmp_path}/refused", f"tracking.uri=sqlite:///{tmp_path}/refused.db"
    with pytest.raises(
        InputError, match=r"search\.rung=6 is no step before the last of a run, which has 6 on tiny_rec"
    ):
        run(recipe, *GRID, place, tracking, "search={kind: asha, rung: 6}")
    assert not list(tmp_path.glob("refused/**/sweep.json"))
    assert not (tmp_path / "refused.db").exists()


@pytest.mark.slow
def test_another_search_takes_back_the_stops_of_what_it_trains_and_no_others(recipe: Path) -> None:
    _, _, folder = run(recipe, *QUIET, ASHA)
    before = {row["run_key"]: row for row in rows_of(folder)}
    code, output, _ = run(recipe, *QUIET, "search={kind: tpe, trials: 2, batch: 2}")
    assert code == 0, output
    after = {row["run_key"]: row for row in rows_of(folder)}
    left = {key for key, row in before.items() if row["status"] == "stopped" and after[key]["status"] == "stopped"}
    assert left
    assert all(after[key]["reason"] == before[key]["reason"] for key in left)
    assert sum(row["status"] == "committed" for row in after.values()) >= 4
    assert "dropped" not in statuses(folder)  # the rest was trained to its end, or to its rung
    assert "0 to train" in run(recipe, *QUIET, ASHA)[1]


@pytest.mark.slow
def test_a_run_that_diverges_before_a_rung_is_one_more_that_the_others_have_beaten(recipe: Path) -> None:
    methods = "methods=[{name: lora, rank: 4, alpha: 8}, {name: d2lora, rank: 2, alpha: 1.0e+38}]"
    _, _, folder = run(recipe, *QUIET, methods, "cluster.pack=16", "search={kind: asha, rung: 2, factor: 4}")
    at_two = [one for key, one in marks(folder).items() if key.endswith("/2")]
    assert sum(one["score"] is None for one in at_two) == 8
    verdicts = [verdict for one in at_two for verdict in one.get("verdicts", {}).values()]
    assert {(verdict["reached"], verdict["places"]) for verdict in verdicts} == {(8, 2)}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["tasks"]["tiny_recall"]["methods"]["d2lora"]["diverged"] == 2
