"""The parts of benches that need neither time nor peers."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHES, _letters
from benchmarks.measuring.pss import tree_pss
from benchmarks.questions import make_examples, make_items, word_tokenizer
from benchmarks.workers.plan_worker import sweep_of
from orchestrator.data.tokenise import tokenise
from orchestrator.plan.runs import expand


def test_every_bench_has_its_module() -> None:
    for name, _ in BENCHES.values():
        assert importlib.util.find_spec(f"benchmarks.{name}"), name


def test_only_takes_letters_of_benches() -> None:
    assert _letters("a, c") == ["a", "c"]
    with pytest.raises(Exception, match="x: choose from a,b,c"):
        _letters("a,x")


def test_a_word_is_a_token_and_questions_have_realistic_lengths() -> None:
    examples = make_examples(20, choices=4, vocab=1000)
    items = tokenise(examples, word_tokenizer(1000), 256)
    for item in items:
        assert 60 <= item.starts[0] <= 130
        assert len(set(item.starts)) == 1
        answers = [len(choice) - start for choice, start in zip(item.choices, item.starts, strict=True)]
        assert min(answers) >= 5
        assert max(answers) <= min(10, min(answers) + 1)
    assert examples == make_examples(20, choices=4, vocab=1000)


def test_rows_to_train_on_have_the_length_that_was_asked_for() -> None:
    items = make_items(3, length=64, answer=4, vocab=50)
    assert [(len(item.choices[0]), item.starts) for item in items] == [(64, (60,))] * 3
    assert items[0] != items[1]


@pytest.mark.parametrize("runs", [10, 1000])
def test_the_planned_sweep_has_as_many_runs_as_asked(runs: int) -> None:
    assert len(expand(sweep_of(runs))) == runs


def test_a_number_of_runs_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="runs=15 is not a multiple of 2 tasks x 5 methods"):
        sweep_of(15)


def test_the_memory_of_a_tree_is_the_sum_over_processes_that_are_still_there(tmp_path: Path) -> None:
    for pid, children, kilobytes in ((1, "2 3", 100), (2, "", 20), (3, "4", 3)):
        (tmp_path / str(pid) / "task" / str(pid)).mkdir(parents=True)
        (tmp_path / str(pid) / "task" / str(pid) / "children").write_text(children)
        (tmp_path / str(pid) / "smaps_rollup").write_text(f"Rss: 999 kB\nPss: {kilobytes} kB\n")
    assert tree_pss([1], tmp_path) == 123 * 1024
    assert tree_pss([2, 3, 3], tmp_path) == 23 * 1024
    if Path("/proc/self/smaps_rollup").exists():
        assert tree_pss([os.getpid()]) > 1_000_000
