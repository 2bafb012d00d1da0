"""What is tried again after packs have failed: alone after an error, in half as large packs when memory was full."""

from __future__ import annotations

from pathlib import Path

from orchestrator.driver.retries import Retries
from tests.helpers.ready import ready_sweep

MEMORY, BAD = "torch.OutOfMemoryError: CUDA out of memory.", "ValueError: bad"


def test_a_run_that_failed_is_tried_alone_as_often_as_the_recipe_says(tmp_path: Path) -> None:
    runs = ready_sweep(tmp_path).runs[:3]
    errors, beside = {run.key: BAD for run in runs}, {run.key: 3 for run in runs}
    retries = Retries(2)
    for _ in range(2):
        assert retries.next_widths(runs, errors, beside) == (list(runs), {"tiny_recall": 1})
    assert retries.next_widths(runs, errors, beside) == ([], {})


def test_a_pack_without_memory_is_halved_until_its_runs_are_alone_and_only_then_spends_tries(tmp_path: Path) -> None:
    runs, retries, widths = ready_sweep(tmp_path).runs[:4], Retries(1), list[int]()
    beside = {run.key: 8 for run in runs}
    while True:
        again, width = retries.next_widths(runs, {run.key: MEMORY for run in runs}, beside)
        if not again:
            break
        widths.append(width["tiny_recall"])
        beside = {run.key: width["tiny_recall"] for run in runs}
    assert widths == [4, 2, 1, *[1] * 4]  # three times in smaller micro batches, then the retry
    assert retries.micro_batches == {run.key: 1 for run in runs}


def test_the_width_of_a_task_is_the_narrowest_that_its_runs_need(tmp_path: Path) -> None:
    runs = ready_sweep(tmp_path).runs
    errors = {run.key: MEMORY for run in runs} | {runs[0].key: BAD}
    again, widths = Retries(1).next_widths(runs, errors, {run.key: 4 for run in runs})
    assert again == list(runs)
    assert widths == {"tiny_recall": 1, "tiny_above": 2}
