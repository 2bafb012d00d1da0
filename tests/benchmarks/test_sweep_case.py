import random
from pathlib import Path

import pytest

from benchmarks.sweep_arms.case import (
    ANSWER,
    LONGEST,
    SHORTEST,
    TASKS,
    Case,
    Run,
    draw_rows,
    make,
    read,
    recipe,
    text_of,
)
from orchestrator.data.splits import split_examples
from orchestrator.data.tasks.own import Columns, own_task
from orchestrator.recipe.read import read_recipe

SMALL = Case(vocab=200, tokens=64, method="lora", steps=6, seeds=2)


@pytest.fixture
def made(tmp_path: Path):
    base = tmp_path / "base"
    base.mkdir()
    return make(tmp_path / "case", SMALL, base)


def test_a_batch_has_the_tokens_of_its_case_on_average():
    assert Case(8192, 64, "lora", 1).batch == 2
    assert Case(8192, 512, "lora", 1).batch == 16
    rows = list(draw_rows(4000, 8192, random.Random(0)))
    lengths = [len((text_of(row)[0] + text_of(row)[1][row["answer"]]).split()) for row in rows]
    assert min(lengths) == SHORTEST
    assert max(lengths) == LONGEST
    assert sum(lengths) / len(lengths) == pytest.approx(32, abs=0.5)
    assert all(len(choice.split()) == ANSWER for row in rows for choice in row["choices"])


def test_a_case_that_was_written_is_read_as_it_was(made):
    assert read(made.folder) == made
    assert made.runs == [Run(task, seed) for task in TASKS for seed in (0, 1)]


def test_the_peers_get_the_rows_that_ours_cuts_from_the_pool_in_the_same_order(made, tmp_path):
    spec = read_recipe(write(tmp_path / "recipe.yaml", recipe(made, tmp_path)))
    for task in spec.tasks:
        own = own_task(task.name, Path(task.path), Columns(), Path(task.test))
        splits = split_examples(
            own,
            train_samples=spec.data.train_samples,
            validation_samples=spec.data.validation_samples,
            eval_samples=spec.data.eval_samples,
        )
        for split, examples in splits.by_name().items():
            wanted = [(one.prompt, list(one.choices), one.answer) for one in examples]
            assert sorted((*text_of(row), row["answer"]) for row in made.rows(task.name, split)) == sorted(wanted)
            if split == "train":
                assert [(*text_of(row), row["answer"]) for row in made.rows(task.name, split)] == wanted


def test_the_recipe_is_the_case(made, tmp_path):
    spec = read_recipe(write(tmp_path / "recipe.yaml", recipe(made, tmp_path, "cluster: {kind: local, pack: 2}\n")))
    assert len(spec.tasks) * len(spec.methods) * len(spec.seeds) == len(made.runs)
    assert spec.optim.global_batch == SMALL.batch
    assert spec.data.train_samples == SMALL.batch * SMALL.steps
    assert spec.cluster.pack == 2
    assert not spec.champions


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
