"""Real sweeps before the gate: refused, let in, rolled back; directory, alias and memory agree."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from rich.console import Console

import jobs.roll_back
from jobs.command import run_job
from orchestrator.driver import champions, gate
from orchestrator.driver.gate import Gate, gate_of
from orchestrator.files import read_json, write_json
from orchestrator.recipe.read import read_recipe
from orchestrator.store.champion import EVALUATION
from orchestrator.store.champion_change import move_in, next_champion
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.sweep import run_sweep
from orchestrator.tracking.mlflow.tracker import MlflowTracker
from orchestrator.verdict.night import Anchor
from tests.helpers.standing import names, stands, write_champion
from tests.helpers.sweeps import rows_of, run

WORDS = ("tasks=[tiny_recall]", "methods=[{name: lora, rank: 4, alpha: 8}]", "engine.diagnostics=false")
TASK = "tiny_recall"
NIGHT = "2026-11-28"
Output = pytest.CaptureFixture[str]


def best(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Make the run of a seed the best one."""
    monkeypatch.setattr(champions, "choose", lambda rows, _: {TASK: next(row for row in rows if row["seed"] == seed)})


def gated(recipe: Path, night: Gate | None = None) -> tuple[int, str]:
    """Run the sweep as a night does, or without a gate of its own."""
    output = io.StringIO()
    console = Console(file=output, width=400)
    code = run_sweep(read_recipe(recipe, WORDS), "python jobs/sweep.py small.yaml", console, gate=night)
    return code, output.getvalue()


def evaluated(place: Path, **values: Any) -> None:
    write_json(place / EVALUATION, read_json(place / EVALUATION) | values)


def aliases(recipe: Path) -> dict[str, str]:
    """Return the run of the version that has each alias."""
    client = MlflowClient(f"sqlite:///{recipe.parent}/mlflow.db")
    model = client.get_registered_model(f"small-{TASK}")
    return {
        name: client.get_model_version(model.name, version).tags["run_key"] for name, version in model.aliases.items()
    }


@pytest.mark.slow
def test_a_champion_is_kept_replaced_and_rolled_back_in_one_step_each(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    best(monkeypatch, 0)
    _, _, folder = run(recipe, *WORDS)  # before any night: no gate
    keys = {row["seed"]: row["run_key"] for row in rows_of(folder)}
    place = folder / "champions" / TASK
    assert read_json(place / EVALUATION).keys() >= {"data", "right"}
    assert gate_of(SweepFolder(folder)) is None
    items = read_json(place / EVALUATION)["items"]

    best(monkeypatch, 1)
    evaluated(place, right="1" * items)  # as if the champion knew everything
    night = Gate(NIGHT)
    code, told = gated(recipe, night)
    assert code == 0, told
    assert night.decided[TASK].decision == "refused"
    assert "the champion stays. lora, lr 0.005, seed 1 was refused: worse than the champion on 24 items" in told
    assert stands(place, keys[0])
    assert names(place) == {TASK}
    assert aliases(recipe) == {"champion": keys[0]}
    assert f"{TASK}: lora, lr 0.005, seed 0" in told  # the final message shows who stands

    evaluated(place, right="0" * items)  # as if it knew nothing
    night = Gate(NIGHT)
    code, told = gated(recipe, night)
    assert code == 0, told
    assert (night.decided[TASK].decision, night.decided[TASK].standing) == ("moved", keys[0])
    assert "not worse than the champion" in told
    assert stands(place, keys[1])
    assert stands(place.with_name(f"{TASK}.before-{NIGHT}"), keys[0])
    assert read_json(place / EVALUATION)["path"] == str(place)
    assert aliases(recipe) == {"champion": keys[1], "champion-before": keys[0]}
    again = Gate(NIGHT)  # a night that was killed after its champions decides the same
    assert gated(recipe, again)[0] == 0
    assert again.decided == night.decided

    roll_back = [str(recipe), *WORDS, f"task={TASK}"]
    assert run_job("roll_back", "", jobs.roll_back.main, roll_back, own_words=("task",)) == 0
    said = capsys.readouterr().out
    assert f"{TASK}: back to lora, lr 0.005, seed 0 (run {keys[0]})" in said
    assert "will not become the champion again" in said
    assert stands(place, keys[0])
    assert aliases(recipe) == {"champion": keys[0]}
    assert run_job("roll_back", "", jobs.roll_back.main, roll_back, own_words=("task",)) == 0
    assert "there is nothing to roll back" in capsys.readouterr().out
    assert stands(place, keys[0])

    code, told = gated(recipe)  # a plain sweep has the gate too now: the folder remembers
    assert code == 0, told
    assert "seed 1 was refused: it was rolled back on 20" in told
    assert "to let it in again, delete" in told
    assert stands(place, keys[0])
    assert aliases(recipe) == {"champion": keys[0]}
    (place.parent / f"{TASK}.refused.json").unlink()  # the remedy
    assert gated(recipe, Gate("2026-11-29"))[0] == 0
    assert stands(place, keys[1])


@pytest.mark.slow
@pytest.mark.rare
def test_a_roll_back_that_mlflow_does_not_hear_of_is_told_at_the_next_start(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    best(monkeypatch, 0)
    _, _, folder = run(recipe, *WORDS)
    best(monkeypatch, 1)
    assert gated(recipe, Gate(NIGHT))[0] == 0
    keys = {row["seed"]: row["run_key"] for row in rows_of(folder)}
    assert aliases(recipe)["champion"] == keys[1]

    def away(*_: object) -> None:
        raise ConnectionError("the server is away")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowTracker, "register", away)
        words = [str(recipe), *WORDS, f"task={TASK}"]
        assert run_job("roll_back", "", jobs.roll_back.main, words, own_words=("task",)) == 1
    said = capsys.readouterr().out
    assert "tracking is behind" in said
    assert f"the champion of {TASK}" in said
    assert stands(folder / "champions" / TASK, keys[0])
    assert aliases(recipe)["champion"] == keys[1]
    assert gated(recipe)[0] == 0
    assert aliases(recipe) == {"champion": keys[0]}


@pytest.mark.slow
@pytest.mark.rare
def test_a_broken_new_champion_and_a_damaged_standing_one(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.worker import merge

    best(monkeypatch, 0)
    _, _, folder = run(recipe, *WORDS, "tracking.uri=none")
    keys = {row["seed"]: row["run_key"] for row in rows_of(folder)}
    place = folder / "champions" / TASK
    best(monkeypatch, 1)

    def broken(job: Any, draft: Path, _: Path) -> dict[str, Any]:
        return {"run_key": job.row["run_key"], "status": "broken", "why": "it does not score as its run did."}

    with monkeypatch.context() as patch:
        patch.setattr(merge, "merged_and_evaluated", broken)
        code, told = gated(recipe, Gate(NIGHT))
    assert code == 1
    assert f"it does not score as its run did. (details: {place}.broken/evaluation.json)" in told
    assert stands(place, keys[0])  # today a broken champion takes the place; before a gate it does not
    assert names(place) == {TASK, f"{TASK}.broken"}

    evaluated(place, right="1" * 24)
    (place / "config.json").write_text("{}")
    code, told = gated(recipe, Gate(NIGHT))
    assert code == 0, told
    assert stands(place, keys[0])  # refused, and what stays was merged anew


def sources(ready: Any, monkeypatch: pytest.MonkeyPatch, place: Path) -> Callable[..., str]:
    """Return a function that tells from where the answers of the standing champion come."""

    def told(evaluation: Mapping[str, Any], night: Gate) -> str:
        write_champion(place, "old", **evaluation)
        monkeypatch.setattr(gate, "right_of", lambda _: "1" * 24)
        row = {"task": TASK, "run_key": "new"}
        return gate.decide(night, ready, SweepFolder(place.parents[1]), FakeCluster(), row).why  # type: ignore[arg-type]

    return told


class FakeCluster:
    """Cannot score a champion."""

    def call(self, *_: object) -> Any:
        """Fail as a model that nobody can open."""
        raise OSError("no such model")


def test_the_answers_of_the_standing_champion_come_from_the_best_source_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers.ready import ready_sweep

    ready = ready_sweep(tmp_path)
    place = tmp_path / "sweeps" / "small" / "champions" / TASK
    told = sources(ready, monkeypatch, place)
    tonight = Gate(NIGHT, {TASK: Anchor("champion", TASK, "old", "1" * 24, [])})
    fingerprint = ready.fingerprints[TASK]
    assert "(the champion scored tonight)" in told({"data": "other", "right": "0"}, tonight)
    assert "(the champion as its run was scored)" in told({"data": fingerprint, "right": "1" * 24}, Gate(NIGHT))
    other = Gate(NIGHT, {TASK: Anchor("champion", TASK, "another", "1" * 24, [])})
    assert "(the champion as its run was scored)" in told({"data": fingerprint, "right": "1" * 24}, other)
    why = told({"data": "other", "right": "1" * 24}, Gate(NIGHT))
    assert (
        "it cannot be compared: the champion was scored on other items, and cannot be scored on these (OSError" in why
    )
    assert why.endswith(f"move {place} away")
    place.rename(place.with_name("elsewhere"))  # the remedy
    row = {"task": TASK, "run_key": "new"}
    folder = SweepFolder(place.parents[1])
    assert gate.decide(Gate(NIGHT), ready, folder, FakeCluster(), row).decision == "first"  # type: ignore[arg-type]


def test_a_folder_has_a_gate_from_its_first_night_or_roll_back_on(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    assert gate_of(folder) is None
    (tmp_path / "nights" / "bisect-0123").mkdir(parents=True)
    (tmp_path / "nights" / ".lease").write_text("")
    assert gate_of(folder) is None
    (tmp_path / "nights" / NIGHT).mkdir()
    assert gate_of(folder) is not None
    other = SweepFolder(tmp_path / "other")
    place = write_champion(other.champion(TASK), "A")
    assert gate_of(other) is None
    move_in(place, write_champion(next_champion(place, NIGHT), "B", NIGHT, "A"))
    assert gate_of(other) is not None
