"""The file with the rows of all measurements ever made, one JSON object per line; a page shows each bench's latest."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.measuring.measure import Result

NUMBERS = tuple(field.name for field in fields(Result) if field.type is float)


@dataclass(frozen=True)
class Measured:
    """The outcome of one bench in one run of the command: its rows, or the error that ended it."""

    bench: str
    quick: bool
    seconds: float
    results: tuple[Result, ...] = ()
    error: str | None = None


def append(path: Path, run: str, measured: Measured) -> None:
    """Append the rows of one bench, or its error, to the file."""
    head = {"run": run, "bench": measured.bench, "quick": measured.quick, "seconds": round(measured.seconds, 1)}
    lines: list[dict[str, Any]] = [head | _plain(result) for result in measured.results]
    if measured.error is not None or not lines:
        lines.append(head | {"error": measured.error or "it gave no rows"})
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


def latest(lines: Iterable[str], order: Sequence[str]) -> list[Measured]:
    """Return each bench's outcome in the last run that measured it; benches are in the given order."""
    by_bench: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        row = json.loads(line)
        by_bench.setdefault(row["bench"], {}).setdefault(row["run"], []).append(row)
    return [_measured(bench, list(by_bench[bench].values())[-1]) for bench in order if bench in by_bench]


def _measured(bench: str, rows: Sequence[dict[str, Any]]) -> Measured:
    errors = [row["error"] for row in rows if "error" in row]
    results = tuple(_result(row) for row in rows if "error" not in row)
    return Measured(bench, rows[0]["quick"], rows[0]["seconds"], results, errors[0] if errors else None)


def _plain(result: Result) -> dict[str, Any]:
    return {name: _no_nan(value) for name, value in asdict(result).items()}


def _no_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _result(row: dict[str, Any]) -> Result:
    values: dict[str, Any] = {field.name: row[field.name] for field in fields(Result)}
    return Result(**(values | {name: math.nan for name in NUMBERS if values[name] is None}))
