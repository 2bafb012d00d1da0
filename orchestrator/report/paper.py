"""Pure: the claims of the D2-LoRA paper (arXiv 2602.14728), each beside the corresponding figure of this sweep.

The paper's figures are second-hand, from its abstracts and public reviews. We could not read its full text.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.summary.schema import Figures, Ratio, ResultRow
from orchestrator.wording import NOTHING, between_points, number, points

NOT_MEASURED = "not measured here"


class PaperClaim(NamedTuple):
    """A claim, its figure in the paper, the corresponding figure of this sweep, and whether the two agree."""

    claim: str
    published: str
    here: str
    verdict: str


def paper_claims(
    summary: Figures, rows: Sequence[ResultRow], champions: Mapping[str, Mapping[str, Any]]
) -> list[PaperClaim]:
    """Return the paper's claims beside this sweep; no claims if the sweep has no D2-LoRA.

    The paper's setting (models, eight tasks) is not the sweep's, so agreement is of direction, not of size.
    """
    settings = {row["method"]: row.get("settings") or {} for row in rows}
    reference = summary["reference"]
    if reference is None or settings.get(reference, {}).get("name", reference) != "d2lora":
        return []
    rank = settings[reference].get("rank") or 0
    lora = {label: of.get("rank") for label, of in settings.items() if of.get("name") == "lora" and rank}
    alike = [label for label, its_rank in lora.items() if its_rank == rank]
    twice = [label for label, its_rank in lora.items() if its_rank == 2 * rank]
    return [
        *_accuracy(
            "accuracy against LoRA of the same rank, mean of tasks", "+2.2 points (76.4 and 74.2)", alike, summary
        ),
        *_accuracy("accuracy against LoRA of twice the rank", "about +1.6 points", twice, summary),
        *_volatility(twice or alike, summary),
        _gap(champions),
        _speed(champions),
        PaperClaim(
            "training costs more than LoRA's", "19 %", NOT_MEASURED, "lanes share their passes: see docs/results.md"
        ),
    ]


def _accuracy(claim: str, published: str, others: Sequence[str], summary: Figures) -> Iterator[PaperClaim]:
    pairs = [pair for pair in summary["macro"]["differences"] if pair["second"] in others and pair["n"]]
    for pair in pairs:
        low_high = between_points(pair["interval"])
        here = f"{points(pair['mean'])} points" + (f" ({low_high})" if low_high != NOTHING else "")
        verdict = {"ahead": "ahead here too", "behind": "behind here", "tie": "no difference was shown"}
        yield PaperClaim(f"{claim} ({pair['second']})", published, here, verdict.get(pair["verdict"], "too few seeds"))
    if not pairs:
        yield PaperClaim(claim, published, NOT_MEASURED, "controls: matched adds it")


def _volatility(others: Sequence[str], summary: Figures) -> Iterator[PaperClaim]:
    measured = False
    for task, content in summary["tasks"].items():
        for pair in content["differences"]:
            ratio = pair["volatility_ratio"]
            if pair["first"] != summary["reference"] or pair["second"] not in others or ratio is None:
                continue
            measured, low_high = True, ratio["interval"]
            here = number(ratio["ratio"], 2) + (
                f" ({number(low_high[0], 2)} to {number(low_high[1], 2)})" if low_high else ""
            )
            yield PaperClaim(
                f"training volatility over that of {pair['second']} on {task}",
                "0.64 (not defined there)",
                here,
                _below_one(ratio),
            )
    if not measured:
        yield PaperClaim("training volatility over LoRA's", "0.64 (not defined there)", NOT_MEASURED, NOTHING)


def _below_one(ratio: Ratio) -> str:
    interval = ratio["interval"]
    if interval is None:
        return "too few seeds" if ratio["n"] < 2 else "no interval"
    if interval[1] < 1:
        return "lower here too"
    return "higher here" if interval[0] > 1 else "no difference was shown"


def _gap(champions: Mapping[str, Mapping[str, Any]]) -> PaperClaim:
    gaps = [
        abs(evaluation["gap_points"]) for evaluation in champions.values() if evaluation.get("gap_points") is not None
    ]
    claim, published = "accuracy lost or gained by merging, in points", "0.03 mean, 0.7 worst"
    if not gaps:
        return PaperClaim(claim, published, NOT_MEASURED, "a sweep with champions measures it")
    here = f"{number(statistics.fmean(gaps), 2)} mean, {number(max(gaps), 2)} worst of {len(gaps)}"
    return PaperClaim(claim, published, here, "as small here" if max(gaps) <= 0.7 else "larger here")


def _speed(champions: Mapping[str, Mapping[str, Any]]) -> PaperClaim:
    rates = [
        (evaluation.get("examples_per_second_merged"), evaluation.get("examples_per_second_unmerged"))
        for evaluation in champions.values()
    ]
    known = [merged / unmerged for merged, unmerged in rates if merged and unmerged]
    claim, published = "speed of evaluation, merged over unmerged", "1.91"
    if not known:
        return PaperClaim(claim, published, NOT_MEASURED, "a sweep with champions measures it")
    mean = statistics.geometric_mean(known)
    verdict = "as much here" if mean >= 1.91 else "less here"
    return PaperClaim(claim, published, f"{number(mean, 2)} over {len(known)}", verdict)
