"""The paper's claims stand beside what was shown, and beside nothing else."""

from __future__ import annotations

from typing import Any

from orchestrator.report.paper import NOT_MEASURED, PaperClaim, paper_claims
from orchestrator.summary.summarise import summarise

CHAMPIONS = {
    task: {"gap_points": gap, "examples_per_second_merged": speed, "examples_per_second_unmerged": 10.0}
    for task, gap, speed in (("a", -0.1, 10.0), ("b", 0.8, 40.0))
}


def run(method: str, rank: int, seed: int, accuracy: float, volatility: float) -> dict[str, Any]:
    name = method.partition("-")[0]
    return {
        "run_key": f"{method}{seed}", "task": "a", "method": method, "lr": 1e-3, "seed": seed, "status": "committed",
        "settings": {"name": name, "rank": rank}, "accuracy": accuracy, "validation_accuracy": accuracy,
        "base_accuracy": 0.5, "train_loss_volatility": volatility, "train_seconds": 1.0, "trainable_parameters": 1,
    }  # fmt: skip


def claims(other: str, rank: int, lead: float, ratio: float) -> dict[str, PaperClaim]:
    wobble = (0.0, 0.001, 0.002, 0.0005)
    rows = [run("d2lora", 4, seed, 0.7 + lead + 2 * wobble[seed], ratio * (1 + wobble[seed])) for seed in range(4)]
    rows += [run(other, rank, seed, 0.7 + wobble[seed], 1.0) for seed in range(4)]
    return {claim.claim: claim for claim in paper_claims(summarise(rows, {}), rows, CHAMPIONS)}


def test_a_lead_over_lora_of_twice_the_rank_is_compared_with_the_published_one() -> None:
    shown = claims("lora-2r", 8, 0.02, 0.5)
    accuracy = shown["accuracy against LoRA of twice the rank (lora-2r)"]
    assert accuracy.here.startswith("+2.1 points (")
    assert accuracy.verdict == "ahead here too"
    assert shown["training volatility over that of lora-2r on a"].verdict == "lower here too"
    assert shown["accuracy against LoRA of the same rank, mean of tasks"].here == NOT_MEASURED


def test_what_is_behind_or_steadier_is_said_as_well() -> None:
    shown = claims("lora", 4, -0.02, 1.5)
    assert shown["accuracy against LoRA of the same rank, mean of tasks (lora)"].verdict == "behind here"
    assert shown["training volatility over that of lora on a"].verdict == "higher here"


def test_merging_is_judged_by_its_worst_gap_and_its_mean_speed() -> None:
    shown = claims("lora", 4, 0.0, 1.0)
    assert shown["accuracy lost or gained by merging, in points"][2:] == (
        "0.45 mean, 0.80 worst of 2",
        "larger here",
    )
    assert shown["speed of evaluation, merged over unmerged"][2:] == ("2.00 over 2", "as much here")


def test_a_sweep_without_d2lora_says_nothing_of_its_paper() -> None:
    rows = [run("lora", 4, seed, 0.7, 1.0) for seed in range(2)]
    assert paper_claims(summarise(rows, {}), rows, {}) == []
