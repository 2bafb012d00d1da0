import json
from pathlib import Path

import pytest

from benchmarks import sweeps
from benchmarks.sweep_arms.agreement import disagreement
from benchmarks.sweep_arms.case import Case, Prepared
from benchmarks.sweep_arms.peers import IGNORED, steps_done, tokenise


class Words:
    """A tokenizer that gives a word its length."""

    def __call__(self, texts):
        return {"input_ids": [[len(word) for word in text.split()] for text in texts]}


def test_labels_are_on_the_answer_alone():
    row = {"question": "ab c", "choices": ["x yy", "zzz w"], "answer": 1}
    (tokens,) = tokenise([row], Words())
    assert tokens["input_ids"] == [9, 2, 1, 7, 3, 1]
    assert tokens["labels"] == [IGNORED] * 4 + [3, 1]
    assert tokens["attention_mask"] == [1] * 6


@pytest.mark.parametrize("plan", sweeps.full_plans() + sweeps.quick_plans())
def test_a_table_measures_all_that_it_compares(plan):
    assert plan.reference in plan.arms
    assert all(target.against in plan.arms for targets in plan.targets.values() for target in targets)
    assert set(plan.targets) <= set(plan.arms)


def test_the_limits_are_the_issues_as_ratios_of_time():
    limits = {
        (plan.case.vocab, plan.case.tokens, target.against): target.limit
        for plan in sweeps.full_plans()
        for targets in plan.targets.values()
        for target in targets
    }
    assert limits == {
        (32768, 64, sweeps.TRAINER): 0.25,
        (32768, 64, sweeps.TUNED): pytest.approx(2 / 3),
        (32768, 64, sweeps.TUNE): 0.2,
        (32768, 64, sweeps.TUNE_TRAIN): 0.2,
        (8192, 64, sweeps.TRAINER): 0.4,
        (8192, 64, sweeps.TUNED): pytest.approx(2 / 3),
        (32768, 512, sweeps.TUNED): pytest.approx(1 / 0.95),
    }


def test_a_quick_look_judges_nothing_and_keeps_to_the_large_vocabulary():
    for plan in sweeps.quick_plans():
        assert not plan.targets
        assert plan.rounds <= 2
        assert plan.case.vocab == 32768


@pytest.mark.parametrize("arm", [*sweeps.NOTES, "ours, pack=2"])
def test_every_arm_has_a_command_that_names_its_folder(arm, tmp_path):
    prepared = Prepared(tmp_path / "case", Case(8192, 64, "lora", 1))
    words = sweeps.command(arm, prepared, tmp_path / "out")
    assert any(str(tmp_path / "out") in word for word in words)
    assert ("jobs/sweep.py" in words) == sweeps.is_ours(arm)


def test_the_recipes_of_ours_differ_in_cluster_and_width():
    assert sweeps.cluster_of(sweeps.OURS) == "cluster: {kind: local, pack: auto}\n"
    assert sweeps.cluster_of(sweeps.OURS_ON_RAY) == "cluster: {kind: ray, pack: auto}\n"
    assert sweeps.cluster_of("ours, pack=4") == "cluster: {kind: local, pack: 4}\n"


def test_the_steps_of_every_run_are_read_back(tmp_path):
    for number, steps in enumerate([3, 3, 2]):
        place = tmp_path / f"run-{number}"
        place.mkdir()
        (place / "result.json").write_text(json.dumps({"steps": steps}))
    assert steps_done(tmp_path) == [3, 3, 2]


def test_only_committed_runs_of_ours_count(tmp_path: Path):
    folder = tmp_path / "sweeps" / "sweep"
    folder.mkdir(parents=True)
    rows = [{"status": "committed", "steps": 5}, {"status": "failed", "steps": None}]
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert sweeps.steps_of(sweeps.OURS, tmp_path) == [5]


def test_the_disagreement_is_the_largest_share_of_a_loss():
    assert disagreement([2.0, 1.01], [2.0, 1.0]) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="longer"):
        disagreement([1.0], [1.0, 2.0])


def test_the_tables_have_walls_with_verdicts_and_cpu_without(monkeypatch):
    seconds = dict.fromkeys(sweeps.NOTES, 8.0) | {sweeps.OURS: 1.0, sweeps.OURS_ON_RAY: 1.0}

    def timed(arm, prepared, place, cpu):
        return lambda: cpu.append(2 * seconds.get(arm, 1.0)) or seconds.get(arm, 1.0)

    monkeypatch.setattr(sweeps, "_timed", timed)
    monkeypatch.setattr(sweeps, "_prepared", lambda case, *_: Prepared(Path("nowhere"), case))
    rows = sweeps.measure(quick=False, say=lambda _: None)
    judged = [row for row in rows if row.target]
    assert len(judged) == 7
    assert all(row.met and row.unit == "s" for row in judged)
    assert {row.median for row in rows if row.arm == sweeps.TUNE} == {8.0, 16.0}
    assert not any(row.target for row in sweeps.measure(quick=True, say=lambda _: None))
