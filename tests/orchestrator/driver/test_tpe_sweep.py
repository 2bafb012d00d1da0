"""A sweep whose settings TPE chooses: batch after batch, stopped and gone on, and what it says of the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.cluster import Failures, Train
from orchestrator.errors import InputError
from orchestrator.plan import widths
from orchestrator.plan.runs import PlannedRun
from orchestrator.recipe.read import read_recipe
from orchestrator.search.next_runs import next_runs, why_not_trained
from orchestrator.search.standing import setting_of
from orchestrator.worker.jobs import PackJob
from tests.helpers.sweeps import rows_of
from tests.orchestrator.search.test_next_runs import GRID, Stubbed, accuracy, planned, race

SEEDS = "seeds=[0, 1]"
TPE = "search={kind: tpe, trials: 3, batch: 2}"
WORDS = (SEEDS, TPE)


def settings_of(runs: Sequence[PlannedRun]) -> set[tuple[str, str]]:
    return {(run.spec.task.name, setting_of(run)) for run in runs}


def test_a_tpe_sweep_trains_batches_of_settings_with_all_seeds_and_says_what_it_left_out(recipe: Path) -> None:
    cluster = Stubbed()
    code, output, folder = race(recipe, cluster, *WORDS)
    assert code == 0, output
    assert [len(rung) for rung in cluster.rounds] == [2 * 2 * 2, 2 * 1 * 2]
    assert [len(settings_of(rung)) for rung in cluster.rounds] == [4, 2]
    assert "12 runs planned at most, 0 done already, 8 to train next" in output
    assert "search of tiny_recall: 2 of 3 settings tried; best so far " in output
    assert "search of tiny_above: 3 of 3 settings tried; best so far " in output
    assert output.count("; over") == 2
    rows = rows_of(folder)
    dropped = [row for row in rows if row["status"] == "dropped"]
    assert (len(rows), len(dropped)) == (16, 4)
    assert {row["search"] for row in dropped} == {"tpe"}
    assert all("TPE tried 3 of 4 settings; the best of them is " in row["reason"] for row in dropped)
    summary = json.loads((folder / "summary.json").read_text())
    assert "TPE chose which settings to try and left out 4 of 16 runs." in summary["headline"]
    assert any("chosen by validation results" in claim for claim in summary["claims"])
    page = (folder / "report.html").read_text()
    assert "chosen by validation results" in page
    assert "Failed and diverged runs" not in page


class Measuring(Stubbed):
    """Remembers which runs each measurement of widths was for."""

    def __init__(self) -> None:
        super().__init__()
        self.measured: list[list[PlannedRun]] = []

    def call(self, function: Any, argument: Path) -> dict[str, int]:
        self.measured.append(list(function.job.runs))
        return {run.spec.task.name: 2 for run in function.job.runs}


@pytest.mark.parametrize(("search", "times"), [(TPE, 2), ("search={kind: racing, first: 2}", 1)])
def test_widths_are_measured_for_each_batch_of_other_settings_and_once_for_the_same(
    recipe: Path, search: str, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widths, "LONG_SWEEP", 1)
    cluster = Measuring()
    code, output, _ = race(recipe, cluster, "seeds=[0, 1, 2]", search, "cluster.pack=auto")
    assert code == 0, output
    assert len(cluster.rounds) == 2
    keys = [[{run.key for run in runs} for runs in rounds] for rounds in (cluster.measured, cluster.rounds)]
    assert keys[0] == keys[1][:times]


def test_a_tpe_sweep_that_was_killed_goes_on_where_it_was_and_ends_the_same(recipe: Path, tmp_path: Path) -> None:
    class Killed(Stubbed):
        def run_packs(self, jobs: Sequence[PackJob], train: Train) -> Failures:
            super().run_packs(jobs[:1], train)  # what was committed when it was killed
            raise KeyboardInterrupt

    killed, second, whole = Killed(), Stubbed(), Stubbed()
    with pytest.raises(KeyboardInterrupt):
        race(recipe, killed, *WORDS)
    code, _, folder = race(recipe, second, *WORDS)
    _, _, other = race(recipe, whole, *WORDS, f"storage={tmp_path}/other")
    outcomes = [[(row["run_key"], row["status"], row.get("reason")) for row in rows_of(one)] for one in (folder, other)]
    assert outcomes[0] == outcomes[1]
    assert code == 0
    trained = [run.key for cluster in (killed, second) for round_ in cluster.rounds for run in round_]
    assert len(trained) == len(set(trained)) == 12
    third = Stubbed()
    assert race(recipe, third, *WORDS)[0] == 0
    assert third.rounds == []


def test_a_grid_after_a_search_trains_what_it_left_out(recipe: Path) -> None:
    race(recipe, Stubbed(), *WORDS)
    grid = Stubbed()
    code, _, folder = race(recipe, grid, SEEDS)
    assert code == 0
    assert len(settings_of(grid.rounds[0])) == 2
    assert {row["status"] for row in rows_of(folder)} == {"committed"}


def test_a_run_that_fails_ends_its_setting_only_and_the_next_call_takes_it_up(recipe: Path) -> None:
    first = next_runs(read_recipe(recipe, (*GRID, *WORDS)), planned(read_recipe(recipe, (*GRID, *WORDS))), {})[0]

    def broken(run: PlannedRun) -> bool:
        return _same(run, first)

    code, output, folder = race(recipe, Stubbed(broken), *WORDS)
    assert code == 1
    assert f"no value for {setting_of(first)}: a run failed" in output
    assert "search of tiny_above: 3 of 3 settings tried" in output
    assert [row["status"] for row in rows_of(folder)].count("failed") == 1
    repaired = Stubbed()
    code, _, folder = race(recipe, repaired, *WORDS)
    assert code == 0
    assert any(_same(run, first) for run in repaired.rounds[0])
    assert len(repaired.rounds[0]) == 1
    assert {row["status"] for row in rows_of(folder)} == {"committed", "dropped"}


def _same(run: PlannedRun, other: PlannedRun) -> bool:
    return all(
        get(run) == get(other)
        for get in (lambda one: one.spec.task.name, setting_of, lambda one: one.spec.seed)  # keys are of other prints
    )


def test_what_is_not_proposed_so_far_is_spared_so_far_and_a_batch_that_has_not_ended_is_not(recipe: Path) -> None:
    spec = read_recipe(recipe, (*GRID, *WORDS))
    runs = planned(spec)
    first = next_runs(spec, runs, {})
    waiting = why_not_trained(spec, runs, {})  # as the merge job asks after a kill, knowing of nothing that failed
    assert waiting.keys() == {run.key for run in runs} - {run.key for run in first}
    assert all(why.startswith("Its setting was not proposed so far: TPE tried 0 of ") for why in waiting.values())
    results: dict[str, float | None] = {run.key: accuracy(run) for run in first}
    second = next_runs(spec, runs, results)
    assert why_not_trained(spec, runs, results).keys() == {run.key for run in runs} - results.keys() - {
        r.key for r in second
    }
    results |= {run.key: accuracy(run) for run in second}
    assert next_runs(spec, runs, results) == []
    over = why_not_trained(spec, runs, results)
    assert over.keys() == {run.key for run in runs} - results.keys()
    assert all(why.startswith("Its setting was not proposed: TPE tried 3 of ") for why in over.values())


def test_seeds_on_two_axes_are_all_trained_of_every_setting_that_is_tried(recipe: Path) -> None:
    spec = read_recipe(recipe, (*GRID, "seeds={init: [0, 1], data: [0, 1, 2]}", TPE))
    first = next_runs(spec, planned(spec), {})
    assert (len(first), len(settings_of(first))) == (2 * 2 * 6, 4)
    assert spec.runs_at_most == 2 * 3 * 6


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "search={kind: tpe}",
            r"search\.trials is missing: .* of the 4 settings \(methods x rates\).* for example 4\.",
        ),
        ("search={kind: tpe, trials: 5}", r"trials=5 is more than the 4 settings .* at most 4, which is what .*grid"),
        ("search={kind: tpe, trials: 0}", r"search\.trials: Input should be greater than 0"),
        ("search={kind: tpe, trials: 3, batch: 0}", r"search\.batch: Input should be greater than 0"),
        ("search={kind: tpe, trials: 3, seed: -1}", r"search\.seed: Input should be greater than or equal to 0"),
        ("search={kind: tpe, trial: 3}", r"Unknown key 'search.trial'. Did you mean 'search.trials'\?"),
        ("search={kind: tpe, trials: 3, alpha: 0.1}", "alpha belongs to kind: racing, and this is kind: tpe"),
        ("search={trials: 3}", "trials belongs to kind: tpe, and this is a grid"),
        ("search={kind: racing, batch: 2}", "batch belongs to kind: tpe, and this is kind: racing"),
    ],
)
def test_a_search_by_tpe_that_cannot_be_is_refused_with_the_way_out(recipe: Path, word: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_recipe(recipe, (*GRID, word))


def test_tpe_with_one_setting_is_refused(recipe: Path) -> None:
    with pytest.raises(InputError, match=r"search.kind=tpe needs two settings \(methods x rates\) or more"):
        read_recipe(recipe, ("methods=[{name: lora, rank: 2, alpha: 4}]", "search={kind: tpe, trials: 1}"))
