"""The method that all others are compared with."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.summary.schema import ResultRow


def reference_method(methods: Sequence[str]) -> str | None:
    """Return "d2lora" if it is among the methods, else the first method."""
    return "d2lora" if "d2lora" in methods else next(iter(methods), None)


def reference_pairs(methods: Sequence[str], reference: str | None) -> list[tuple[str, str]]:
    """Return the reference with each other method, in the order of the sweep; no pairs if it is not among them.

    Only these pairs are compared, and they are the family of the correction: one pair per other method (ADR 8).
    """
    if reference is None or reference not in methods:
        return []
    return [(reference, method) for method in methods if method != reference]


def most_tried(rows: Sequence[ResultRow]) -> list[str]:
    """Return the methods that were tried on the most tasks, in their order: all methods, unless a search left some out.

    A method was tried on a task if any of its runs there was not dropped.
    """
    tasks: dict[str, set[str]] = {str(row["method"]): set() for row in rows}
    for row in rows:
        if row["status"] != "dropped":
            tasks[str(row["method"])].add(str(row["task"]))
    most = max(map(len, tasks.values()), default=0)
    return [method for method, of in tasks.items() if len(of) == most]
