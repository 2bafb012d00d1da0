"""The champion: chosen on validation among the methods with the most seeds, the same one whoever asks."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.search.best_run import choose
from orchestrator.summary.summarise import summarise


def row(
    method: str, seed: int, validation: float | None, test: float = 0.5, *, task: str = "a", lr: float = 1e-4,
    status: str = "committed",
) -> dict[str, Any]:  # fmt: skip
    done = status == "committed"
    return {
        "run_key": f"{task}/{method}/{lr}/{seed}",
        "task": task,
        "method": method,
        "settings": {"name": method},
        "lr": lr,
        "seed": seed,
        "status": status,
        "accuracy": test if done else None,
        "validation_accuracy": validation if done else None,
        "train_loss_volatility": None,
        "train_seconds": None,
        "trainable_parameters": 10 if done else None,
        "base_accuracy": 0.3,
    }


def chosen(rows: list[dict[str, Any]]) -> dict[str, str]:
    return {task: one["run_key"] for task, one in choose(rows, summarise(rows, {})).items()}


def test_the_best_seed_of_the_method_with_the_best_mean_is_the_champion_and_not_the_luckiest_run() -> None:
    rows = [row("d2lora", 0, 0.70), row("d2lora", 1, 0.74), row("lora", 0, 0.60), row("lora", 1, 0.80)]
    assert chosen(rows) == {"a": "a/d2lora/0.0001/1"}


def test_test_accuracy_has_no_say() -> None:
    rows = [
        row("d2lora", 0, 0.7, 0.1),
        row("d2lora", 1, 0.6, 0.9),
        row("lora", 0, 0.5, 0.99),
        row("lora", 1, 0.5, 0.99),
    ]
    assert chosen(rows) == {"a": "a/d2lora/0.0001/0"}


def test_only_the_rate_chosen_for_the_method_counts() -> None:
    rows = [row("lora", 0, 0.9, lr=1e-3), row("lora", 1, 0.5, lr=1e-3), row("lora", 0, 0.75), row("lora", 1, 0.74)]
    assert chosen(rows) == {"a": "a/lora/0.0001/0"}


@pytest.mark.parametrize("status", ["diverged", "failed", "stopped"])
def test_a_run_without_a_result_is_never_champion(status: str) -> None:
    rows = [row("lora", 0, 0.99, status=status), row("lora", 1, 0.5)]
    assert chosen(rows) == {"a": "a/lora/0.0001/1"}


@pytest.mark.parametrize("status", ["diverged", "failed"])
def test_a_method_that_lost_seeds_does_not_win_by_the_one_that_was_lucky(status: str) -> None:
    lucky = [row("d2lora", 0, 0.99), *(row("d2lora", seed, None, status=status) for seed in range(1, 5))]
    whole = [row("lora", seed, 0.70 + seed / 100) for seed in range(5)]
    assert chosen(lucky + whole) == {"a": "a/lora/0.0001/4"}


def test_a_rate_that_lost_seeds_is_no_way_to_be_champion() -> None:
    lucky = [row("lora", 0, 0.99, lr=1e-3), row("lora", 1, None, lr=1e-3, status="failed")]
    assert chosen([*lucky, row("lora", 0, 0.5), row("lora", 1, 0.6)]) == {"a": "a/lora/0.0001/1"}


def test_a_task_in_which_nothing_finished_has_no_champion() -> None:
    rows = [row("lora", 0, None, status="failed"), row("lora", 0, 0.5, task="b")]
    assert chosen(rows) == {"b": "b/lora/0.0001/0"}
    assert choose([], summarise([], {})) == {}


def test_a_method_that_never_finished_loses_to_any_that_did() -> None:
    rows = [row("d2lora", 0, None, status="diverged"), row("lora", 0, 0.01)]
    assert chosen(rows) == {"a": "a/lora/0.0001/0"}


def test_more_seeds_come_first_and_equal_means_go_to_the_recipes_order() -> None:
    more = [row("d2lora", 0, 0.5), row("lora", 0, 0.5), row("lora", 1, 0.5)]
    assert chosen(more)["a"].startswith("a/lora/")
    equal = [row("dora", 0, 0.5), row("d2lora", 0, 0.5)]
    assert chosen(equal)["a"].startswith("a/dora/")


def test_equal_seeds_go_to_the_smallest_whatever_the_order_of_rows() -> None:
    rows = [row("lora", seed, 0.5) for seed in (2, 0, 1)]
    assert chosen(rows) == chosen(rows[::-1]) == {"a": "a/lora/0.0001/0"}


def test_without_validation_there_is_still_one_champion_a_task() -> None:
    rows = [row("lora", 0, None), row("lora", 1, None), row("dora", 0, 0.1)]  # more seeds, but nothing to choose by
    assert chosen(rows) == {"a": "a/dora/0.0001/0"}
    assert chosen(rows[:2]) == {"a": "a/lora/0.0001/0"}


def test_every_task_has_a_champion_of_its_own() -> None:
    rows = [row("lora", 0, 0.6), row("dora", 0, 0.5), row("lora", 0, 0.5, task="b"), row("dora", 0, 0.6, task="b")]
    assert chosen(rows) == {"a": "a/lora/0.0001/0", "b": "b/dora/0.0001/0"}


def test_the_champions_row_is_a_copy() -> None:
    rows = [row("lora", 0, 0.6)]
    choose(rows, summarise(rows, {}))["a"]["accuracy"] = 1.0
    assert rows[0]["accuracy"] == 0.5
