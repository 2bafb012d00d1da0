"""Colours: every text of the pages on its ground has the contrast of WCAG AA, in the light and in the dark."""

from __future__ import annotations

import re

import pytest

from orchestrator.nightly.pages.write import OWN
from orchestrator.report.environment import TEMPLATES

TEXT, MARK = 4.5, 3.0
PAIRS = [
    *((ink, ground, TEXT) for ink in ("ink", "quiet", "accent", "bad") for ground in ("card", "paper")),
    *((ink, "card", TEXT) for ink in ("good", "warn", "s2", "s3")),
    *((kind, f"{kind}-soft", TEXT) for kind in ("good", "bad", "warn")),
    *(("ink", f"{kind}-soft", TEXT) for kind in ("good", "bad", "warn", "calm")),
    *(("accent", f"{kind}-soft", TEXT) for kind in ("good", "bad", "warn", "calm")),  # the link of the trend's headline
    *((ink, "paper", MARK) for ink in ("other", "good", "bad", "warn")),  # the nights of the lanes
    ("accent", "card", MARK),
]


def colours(dark: bool) -> dict[str, str]:
    """Return the variables of the style sheets in one scheme."""
    known: dict[str, str] = {}
    for sheet in (TEMPLATES / "style.css", OWN / "nights.css"):
        text = sheet.read_text(encoding="utf-8")
        begin = text.index("@media (prefers-color-scheme: dark)")
        end = text.index("\n}", begin) if TEMPLATES in sheet.parents else text.index("\n", begin)
        light, in_dark = text[:begin], text[begin:end]
        known |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
        if dark:
            known |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", in_dark))
    return known


def luminance(colour: str) -> float:
    channels = (int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5))
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("ink", "ground", "least"), PAIRS)
def test_every_text_can_be_read(ink: str, ground: str, least: float, dark: bool) -> None:
    known = colours(dark)
    assert contrast(known[ink], known[ground]) >= least
