"""Pure: measurements as a page of Markdown tables."""

import math
from collections.abc import Sequence

from benchmarks.measuring.measure import ITSELF, Result
from benchmarks.measuring.rows import Measured

HEADER = "| case | arm | median | 95 % | unit | ratio | 95 % | to | target | met | rounds | note |"


def page(measured: Sequence[Measured], titles: dict[str, str], machine: Sequence[str], when: str) -> str:
    """Return the whole page: the machine, the missed targets, then one table per bench."""
    parts = ["# Benchmarks", "", *machine, f"Measured on {when}.", ""]
    parts += [
        "Ratios are medians over rounds of the arm's value over the reference's of the same round; intervals are 95 %",
        "bootstrap intervals of the median (none below 3 rounds). "
        "A verdict in brackets is within the noise: the interval holds the limit.",
        "",
        summary([result for one in measured for result in one.results]),
        "",
    ]
    for one in measured:
        parts += [f"## {titles.get(one.bench, one.bench)}", "", *_table(one), ""]
    return "\n".join(parts)


def summary(results: Sequence[Result]) -> str:
    """Return a sentence that counts the targets that were met and names the missed targets."""
    judged = [result for result in results if result.met is not None]
    missed = [f"{row.bench}, {row.case}: {row.arm} {row.target}" for row in judged if not row.met]
    words = f"{len(judged) - len(missed)} of {len(judged)} targets met."
    return words + (" Missed: " + "; ".join(missed) + "." if missed else "")


def verdict(result: Result) -> str:
    """Return yes or no; in brackets if the interval contains the limit, so more rounds could change the verdict."""
    if result.met is None or result.target is None:
        return ""
    limit = float(result.target.split()[2])
    low, high = (result.low, result.high) if result.reference == ITSELF else (result.ratio_low, result.ratio_high)
    word = "yes" if result.met else "**no**"
    return f"({word})" if low < limit < high else word


def _table(one: Measured) -> list[str]:
    how = f"{'Quick: few rounds, small cases' if one.quick else 'Full'}; {one.seconds:.0f} s."
    failed = [f"**Failed**: `{one.error}`", ""] if one.error else []
    rows = [_line(result) for result in one.results]
    return [how, "", *failed, *([HEADER, "|" + " --- |" * HEADER.count(" | ") + " --- |", *rows] if rows else [])]


def _line(row: Result) -> str:
    cells = [row.case, row.arm, _number(row.median), _interval(row.low, row.high), row.unit]
    if row.reference in (ITSELF, row.arm):
        cells += ["", "", "" if row.reference == ITSELF else "reference"]
    else:
        cells += [_number(row.ratio), _interval(row.ratio_low, row.ratio_high), row.reference]
    cells += [row.target or "", verdict(row), str(row.rounds), row.note]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{_number(low)}-{_number(high)}"
