"""Numbers as people read them: one spelling for the claims, the report and the figures."""

from __future__ import annotations

from collections.abc import Sequence

NOTHING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


def percent(share: float | None, digits: int = 1) -> str:
    """Return ``71.2 %`` for 0.712."""
    return NOTHING if share is None else f"{number(100 * share, digits)} %"


def points(share: float | None, digits: int = 1) -> str:
    """Return the difference of two shares in points with its sign: ``+1.2`` for 0.012."""
    if share is None:
        return NOTHING
    shown = number(100 * share, digits)
    return shown if shown.startswith(MINUS) or not float(shown) else f"+{shown}"


def number(value: float | None, digits: int = 1) -> str:
    """Return a number with fixed digits, thousands apart, a true minus sign and no negative zero."""
    if value is None:
        return NOTHING
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)


def between(interval: Sequence[float] | None, digits: int = 1) -> str:
    """Return an interval of shares in percent: ``70.1 to 72.3``."""
    return NOTHING if interval is None else " to ".join(number(100 * end, digits) for end in interval)


def between_points(interval: Sequence[float] | None, digits: int = 1) -> str:
    """Return an interval of differences in points: ``+0.4 to +2.0``."""
    return NOTHING if interval is None else " to ".join(points(end, digits) for end in interval)


def p_value(p: float | None) -> str:
    """Return ``0.012``, or ``< 0.001``."""
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def rate(lr: float) -> str:
    """Return a learning rate as people write it: ``3e-4``, ``0.01``."""
    if lr >= 0.01 or lr <= 0:
        return f"{lr:g}"
    mantissa, exponent = f"{lr:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def count(amount: int, noun: str) -> str:
    """Return ``1 seed``, ``5 seeds``."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
