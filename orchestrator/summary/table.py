"""The rows of ``results.jsonl`` by task, method and learning rate."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.statistics.crossed import Cell
from orchestrator.summary.schema import ResultRow


class ResultTable:
    """The rows of ``results.jsonl``, to be asked for by task, method, learning rate and status.

    Tasks, methods and rows come in the order of the file. A question about a task, method or rate without rows has an
    empty answer.

    Raises:
        ValueError: if two rows have the same task, method, rate and seed, because a run that counts twice would narrow
            every interval.

    Example:
        >>> row = {"task": "boolq", "method": "lora", "lr": 1e-3, "seed": 0, "status": "committed"}
        >>> ResultTable([row]).rows("boolq", "lora", 1e-3, "committed") == [row]
        True
    """

    def __init__(self, rows: Sequence[ResultRow]) -> None:
        self._rows: dict[tuple[str, str, float | None], list[ResultRow]] = {}  # a rate of None: those of every rate
        self._cells: dict[int, Cell] = {}
        runs: set[tuple[str, str, float, int]] = set()
        for row in rows:
            run = task, method, lr, seed = str(row["task"]), str(row["method"]), float(row["lr"]), int(row["seed"])
            if run in runs:
                raise ValueError(
                    f"Two results for task {task!r}, method {method!r}, lr {lr:g}, seed {seed}. Methods that differ in "
                    "their settings need labels that differ."
                )
            runs.add(run)
            for rate in (None, lr):
                self._rows.setdefault((task, method, rate), []).append(row)
            self._cells[seed] = cell_of(row)

    def tasks(self) -> list[str]:
        """Return the names of the tasks."""
        return list(dict.fromkeys(task for task, _, _ in self._rows))

    def methods(self, task: str | None = None) -> list[str]:
        """Return the labels of the methods of one task; without a task, of all tasks."""
        return list(dict.fromkeys(method for of, method, _ in self._rows if task in (None, of)))

    def rates(self, task: str, method: str) -> list[float]:
        """Return the learning rates of a task and method, the smallest first."""
        return sorted({float(row["lr"]) for row in self.rows(task, method)})

    def rows(self, task: str, method: str, lr: float | None = None, status: str | None = None) -> list[ResultRow]:
        """Return the rows of a task and method; ``lr`` and ``status`` restrict them, None does not."""
        rows = self._rows.get((task, method, lr), [])
        return [row for row in rows if status in (None, row["status"])]

    def cells(self) -> dict[int, Cell]:
        """Return the init seed and the data seed of each run by the seed that names the run."""
        return dict(self._cells)


def cell_of(row: ResultRow) -> Cell:
    """Return a run's (init seed, data seed). Rows written before seeds had two axes use ``seed`` for both."""
    return int(row.get("init_seed", row["seed"])), int(row.get("data_seed", row["seed"]))
