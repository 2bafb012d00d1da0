"""The table of results: what it finds, in which order, and what it refuses."""

from __future__ import annotations

import pytest

from orchestrator.summary.table import ResultTable
from tests.helpers.result_rows import row

ROWS = [
    row("lora", 1, task="b", lr=1e-3),
    row("lora", 0, task="b", lr=1e-3, status="diverged"),
    row("lora", 0, task="b", lr=1e-4),
    row("dora", 0, task="a"),
    row("lora", 0, task="a"),
]


def test_tasks_methods_and_rows_come_in_the_order_of_the_file_and_rates_from_the_smallest() -> None:
    table = ResultTable(ROWS)
    assert table.tasks() == ["b", "a"]
    assert (table.methods(), table.methods("a"), table.methods("b")) == (["lora", "dora"], ["dora", "lora"], ["lora"])
    assert table.rates("b", "lora") == [1e-4, 1e-3]
    assert table.rows("b", "lora") == ROWS[:3]


def test_rows_are_those_of_the_rate_and_the_status_that_are_asked_for() -> None:
    table = ResultTable(ROWS)
    assert table.rows("b", "lora", 1e-3) == ROWS[:2]
    assert table.rows("b", "lora", 1e-3, "committed") == ROWS[:1]
    assert table.rows("b", "lora", status="committed") == [ROWS[0], ROWS[2]]


def test_what_has_no_rows_has_an_empty_answer() -> None:
    table = ResultTable(ROWS)
    assert (table.rows("b", "dora"), table.rows("b", "lora", 0.5), table.rates("c", "lora")) == ([], [], [])
    assert (table.methods("c"), ResultTable([]).tasks(), ResultTable([]).cells()) == ([], [], {})


def test_a_run_has_the_cell_of_its_two_seeds_and_an_older_row_has_its_one_seed_twice() -> None:
    crossed = [row(seed=7) | {"init_seed": 1, "data_seed": 2}, row(seed=3)]
    assert ResultTable(crossed).cells() == {7: (1, 2), 3: (3, 3)}


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Two results for task 'arc_easy', method 'd2lora', lr 0\.0001, seed 0"):
        ResultTable([row(), row()])
    assert ResultTable([row(), row(lr=2e-4), row(seed=1), row("lora"), row(task="boolq")]).tasks() == [
        "arc_easy",
        "boolq",
    ]
