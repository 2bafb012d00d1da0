"""What is known of a task before it is fetched: its rows, its choices and its usual length."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.data.splits import VALIDATION_LEAST, VALIDATION_LIMIT, VALIDATION_SHARE
from orchestrator.recipe.sections import DataSpec, TaskSpec


@dataclass(frozen=True)
class TaskSize:
    """Rows to train and to test on, choices per question, and the usual tokens of a prompt and of a choice."""

    train: int
    test: int
    choices: int
    prompt: int
    answer: int


# Rows: of the splits that the task's file names, as published. Tokens: means over published rows at 4.5 characters per
# token, as the tokenizers of SmolLM2, Llama 3 and Qwen2.5 cut English; those of hellaswag, race and commonsense_qa are
# estimates.
SIZES = {
    "arc_challenge": TaskSize(1119, 1172, 4, 33, 7),
    "arc_easy": TaskSize(2251, 2376, 4, 29, 5),
    "boolq": TaskSize(9427, 3270, 2, 138, 1),
    "commonsense_qa": TaskSize(9741, 1221, 5, 20, 2),
    "hellaswag": TaskSize(39905, 10042, 4, 50, 25),
    "openbookqa": TaskSize(4957, 500, 4, 16, 4),
    "race": TaskSize(87866, 4934, 4, 370, 7),
    "tiny_above": TaskSize(640, 384, 2, 10, 1),
    "tiny_older": TaskSize(640, 384, 2, 12, 1),
    "tiny_recall": TaskSize(640, 384, 4, 9, 1),
    "winogrande": TaskSize(40398, 1267, 2, 34, 2),
}
UNKNOWN = TaskSize(5000, 2000, 4, 100, 5)


@dataclass(frozen=True)
class TaskRows:
    """The most rows that a run of a task has, and their usual length; assumed values if ``known`` is false."""

    train: int
    validation: int
    test: int
    choices: int
    prompt: int
    answer: int
    known: bool

    @property
    def scored(self) -> int:
        """The rows that are scored after training."""
        return self.validation + self.test


def rows_of(task: TaskSpec, data: DataSpec) -> TaskRows:
    """Return the rows of a task under a recipe's limits; repeated and leaked rows, which are left out later, count."""
    known = task.name in SIZES and task.path is None and task.train is None and task.test is None
    size = SIZES.get(task.name, UNKNOWN) if task.path is None else UNKNOWN
    there = size.train if known else max(size.train, _needed(data))
    validation = data.validation_samples or _validation(there, data.train_samples)
    left = max(1, there - validation)
    return TaskRows(
        train=min(left, data.train_samples or left),
        validation=min(validation, there),
        test=min(size.test, data.eval_samples or size.test) if known else data.eval_samples or size.test,
        choices=size.choices,
        prompt=size.prompt,
        answer=size.answer,
        known=known,
    )


def _validation(rows: int, train_samples: int | None) -> int:
    """Return how many rows `split_examples` holds out of ``rows`` by default."""
    least = max(VALIDATION_LEAST, (train_samples or rows) // 10)
    return max(1, min(int(rows * VALIDATION_SHARE), VALIDATION_LIMIT, least))


def _needed(data: DataSpec) -> int:
    """Return how many rows a file needs to have, to give all the rows that the recipe asks for."""
    return (data.train_samples or 0) + (data.validation_samples or VALIDATION_LIMIT)
