"""What TPE proposes: settings of the grid alone, none twice, and the same ones whenever it was stopped."""

from __future__ import annotations

import subprocess
import sys

import pytest

from benchmarks.simulations.tpe import CASES, simulate
from orchestrator.recipe.sections import MethodSpec
from orchestrator.search.proposals import propose, seed_of, study_of
from orchestrator.search.space import METHOD, space_of
from orchestrator.search.tpe import TpeInput, TpeStanding, decide
from tests.helpers.places import ROOT

SEEDS = (0, 1, 2)
GOLDEN = [3, 39, 41, 36, 31, 38, 25, 43, 30, 33, 4, 42]
Scores = dict[tuple[str, int], float | None]


def method(name: str, **settings: float | str) -> MethodSpec:
    return MethodSpec(name=name, settings=settings, label="", targets="attention")


METHODS = [
    *(method("d2lora", rank=rank, tau=tau) for rank in (2, 4, 8) for tau in (0.25, 0.5)),
    method("d2lora", rank=16, tau="learned"),  # a corner: most of what its axes span is not in the recipe
    *(method("lora", rank=rank) for rank in (2, 4, 8)),
    method("dora", rank=4),
]
SETTINGS = [(one, rate) for one in METHODS for rate in (1e-4, 3e-4, 1e-3, 3e-3)]
NAMES = tuple(f"setting {number}" for number in range(len(SETTINGS)))


def search(trials: int = 12, batch: int = 4, seed: int = 0) -> TpeInput:
    return TpeInput(NAMES, space_of(SETTINGS), SEEDS, trials, batch, seed)


def value(setting: str, seed: int) -> float:
    """What a run scores: best for LoRA of rank 4 at 1e-3."""
    one, rate = SETTINGS[NAMES.index(setting)]
    far = (one.name != "lora") + abs((1e-4, 3e-4, 1e-3, 3e-3).index(rate) - 2) + (one.settings["rank"] != 4)
    return 0.8 - 0.05 * far + 0.01 * seed


def everything() -> Scores:
    return {(name, seed): value(name, seed) for name in NAMES for seed in SEEDS}


def driven(
    one: TpeInput, scores: Scores | None = None, runs: int = 10**6, lost: frozenset[tuple[str, int]] = frozenset()
):
    """Yield where the search stands, while at most ``runs`` of what it asks for are trained at a time."""
    known = {} if scores is None else dict(scores)
    while True:
        propose.cache_clear()  # as a driver that was started again
        standing = decide(one, known, lost)
        yield standing
        if not standing.next:
            return
        known |= {run: value(*run) for run in standing.next[:runs]}


def end(one: TpeInput, **how) -> TpeStanding:
    *_, last = driven(one, **how)
    return last


@pytest.mark.parametrize("batch", [1, 4, 7, 100])
def test_the_whole_grid_can_be_tried_each_setting_once_and_nothing_else(batch: int) -> None:
    standings = list(driven(search(len(NAMES), batch)))
    asked = [run for standing in standings for run in standing.next]
    assert sorted(asked) == sorted((name, seed) for name in NAMES for seed in SEEDS)
    assert len(standings) == -(-len(NAMES) // batch) + 1
    assert set(standings[-1].values) == set(NAMES)


def test_a_search_ends_after_its_trials_each_with_all_seeds() -> None:
    standings = list(driven(search(10)))
    assert [len(standing.batch) for standing in standings] == [4, 4, 2, 0]
    assert [len(standing.next) for standing in standings] == [12, 12, 6, 0]
    assert len(standings[-1].values) == 10
    assert (standings[-1].trials, standings[-1].of) == (10, len(NAMES))


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_a_search_that_is_stopped_after_any_run_proposes_what_one_in_a_single_go_does(runs: int) -> None:
    whole = end(search(16))
    assert list(end(search(16), runs=runs).values.items()) == list(whole.values.items())
    assert decide(search(16), everything()).values == whole.values


def test_another_process_proposes_the_same_whatever_its_hashes_and_logs_nothing() -> None:
    code = "from tests.orchestrator.search.test_tpe import end, search; print(list(end(search()).values))"
    for hashes in ("1", "2"):
        command, env = [sys.executable, "-c", code], {"PYTHONHASHSEED": hashes}
        ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        assert (ran.stdout.strip(), ran.stderr) == (str(list(end(search()).values)), "")


def test_a_recipe_proposes_what_it_proposed_when_optuna_was_pinned() -> None:
    assert [NAMES.index(name) for name in end(search(12)).values] == GOLDEN


def test_more_trials_go_on_from_where_fewer_ended() -> None:
    short, long = (list(end(search(trials)).values) for trials in (6, 14))
    assert long[:6] == short


def test_results_of_settings_that_were_not_proposed_change_nothing() -> None:
    proposed = list(end(search()).values)
    of_a_grid = {run: score for run, score in everything().items() if run[0] not in proposed}
    assert list(end(search(), scores=of_a_grid).values) == proposed


def test_each_method_is_proposed_once_before_any_is_judged() -> None:
    for seed in range(10):
        first = decide(search(seed=seed), {}).batch
        kinds = [SETTINGS[NAMES.index(name)][0].name for name in first]
        assert kinds[:3] == ["d2lora", "lora", "dora"]


def test_recipe_seeds_and_tasks_draw_different_settings() -> None:
    assert len({seed_of(0, "arc_easy"), seed_of(0, "boolq"), seed_of(1, "arc_easy")}) == 3
    assert seed_of(0, "arc_easy") == 1809038765
    assert len({decide(search(seed=seed), {}).batch for seed in range(5)}) == 5


def test_a_diverged_run_counts_as_a_score_of_zero() -> None:
    scores = everything()
    first = decide(search(), {}).batch[0]
    scores[first, 1] = None
    expected = (value(first, 0) + value(first, 2)) / 3
    assert decide(search(), scores).values[first] == pytest.approx(expected, abs=1e-12)


def test_a_setting_whose_run_failed_has_no_value_once_its_other_runs_are_in_and_the_search_goes_on() -> None:
    first = decide(search(), {}).batch[0]
    lost = frozenset({(first, 1)})
    standings = list(driven(search(), lost=lost))
    assert {run for run in standings[0].next if run[0] == first} == {(first, 0), (first, 2)}
    assert standings[1].values[first] is None
    assert len(standings[-1].values) == 12
    assert standings[-1].best is not None
    assert standings[-1].best[0] != first


def test_a_search_whose_every_run_fails_still_ends() -> None:
    standing = decide(search(), {}, frozenset(everything()))
    assert (len(standing.values), standing.batch, standing.next, standing.best) == (12, (), (), None)


def test_a_setting_without_a_value_is_not_in_the_study_that_proposes() -> None:
    space = space_of(SETTINGS)
    (trial,) = study_of(space, ((3, None), (5, 0.75)), 0).get_trials()
    assert (trial.value, tuple(trial.params.items())) == (0.75, space.points[5])


def test_optuna_is_loaded_by_proposing_and_by_nothing_before() -> None:
    code = (
        "import sys, orchestrator.search.next_runs; from tests.orchestrator.search.test_tpe import decide, search; "
        "before = 'optuna' in sys.modules; decide(search(), {}); print(before, 'optuna' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


def test_what_is_good_is_tried_more_often_than_at_random() -> None:
    shares = []
    for seed in range(10):
        later = list(end(search(20, seed=seed)).values)[8:]
        shares += [SETTINGS[NAMES.index(name)][0].name == "lora" for name in later]
    assert sum(shares) / len(shares) > 1.3 * 12 / len(NAMES)  # 12 of the settings are LoRA's


@pytest.mark.slow
def test_on_invented_results_it_finds_better_settings_than_random_choice_of_as_many() -> None:
    outcome = simulate(CASES[1], 32, 25)
    assert outcome.grid < outcome.tpe < outcome.random


def test_the_axis_of_methods_is_left_out_where_there_is_one_method() -> None:
    settings = [(method("lora", rank=rank), rate) for rank in (2, 4) for rate in (1e-4, 1e-3)]
    one = TpeInput(NAMES[:4], space_of(settings), SEEDS, 4, 2, 0)
    assert all(axis.name != METHOD for axis in one.space.shared)
    assert decide(one, everything()).values.keys() == set(NAMES[:4])
