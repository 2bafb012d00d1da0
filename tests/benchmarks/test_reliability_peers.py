import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from benchmarks.reliability_arms.damage import (
    DAMAGES,
    REFUSED,
    RENAMED,
    RIGHT,
    WRONG,
    flipped,
    flips,
    outcomes,
    truncations,
    zero_tails,
)
from benchmarks.reliability_arms.journal import DONE, STEP, Told, note, read, told
from benchmarks.reliability_arms.tune_damage import DAMAGES as STATE_DAMAGES
from benchmarks.reliability_arms.tune_damage import Outcome
from benchmarks.reliability_arms.tune_job import JOURNALS
from benchmarks.reliability_arms.tune_kills import tales

CONTENT = bytes(range(1, 101))


def test_a_flip_changes_one_bit_and_never_the_same_twice() -> None:
    copies = list(flips(CONTENT, 800, seed=0))
    assert len(set(copies)) == 800
    for copy in copies:
        assert sum((a ^ b).bit_count() for a, b in zip(copy, CONTENT, strict=True)) == 1


def test_a_zero_tail_keeps_the_length_and_a_truncation_keeps_the_beginning() -> None:
    for copy in zero_tails(CONTENT, 50, seed=0):
        assert len(copy) == len(CONTENT)
        assert copy != CONTENT
        assert CONTENT.startswith(copy.rstrip(b"\0"))
    assert all(CONTENT.startswith(copy) and copy != CONTENT for copy in truncations(CONTENT, 50, seed=0))


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_same_seed_draws_the_same_damage(damage: str) -> None:
    once, again, other = (list(DAMAGES[damage](CONTENT, 20, seed)) for seed in (0, 0, 1))
    assert once == again != other


def test_outcomes_tell_apart_what_is_refused_right_renamed_and_wrong() -> None:
    content = safetensors.torch.save({"weight": torch.ones(4)})
    name, last = 8 * content.index(b"weight"), 8 * len(content) - 1
    copies = [content, content[:-1], flipped(content, name), flipped(content, last)]
    counts = outcomes(safetensors.torch.load, content, iter(copies))
    assert counts == {RIGHT: 1, REFUSED: 1, RENAMED: 1, WRONG: 1}


def test_a_changed_sign_of_zero_is_wrong_and_the_same_nan_is_right() -> None:
    content = safetensors.torch.save({"weight": torch.tensor([0.0, float("nan")])})
    sign = 8 * (len(content) - 5) + 7
    assert outcomes(safetensors.torch.load, content, iter([content, flipped(content, sign)])) == {RIGHT: 1, WRONG: 1}


def test_a_journal_tells_of_steps_done_again_and_of_training_after_the_end() -> None:
    whole = [(STEP, 1), (STEP, 2), (DONE, 2)]
    assert told(whole) == Told(ends=1, steps=2, repeated=0, again=0)
    assert told([(STEP, 1), *whole]) == Told(ends=1, steps=3, repeated=1, again=0)
    assert told([*whole, (STEP, 2), (DONE, 2)]) == Told(ends=2, steps=3, repeated=1, again=1)
    assert told([*whole, *whole, (STEP, 1)]) == Told(ends=2, steps=5, repeated=3, again=2)
    assert told([*whole, (DONE, 2)]) == Told(ends=2, steps=2, repeated=0, again=0)


def test_journals_are_read_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / JOURNALS / "0.jsonl"
    for line in [(STEP, 1), (DONE, 1)]:
        note(file, *line)
    assert read(file) == [(STEP, 1), (DONE, 1)]
    assert tales(tmp_path) == [Told(1, 1, 0, 0)]
    assert tales(tmp_path / "nowhere") == []


def test_state_is_cut_flipped_or_deleted() -> None:
    changed = {name: damage(CONTENT, 0) for name, damage in STATE_DAMAGES.items()}
    assert changed["cut in half"] == CONTENT[:50]
    assert changed["deleted"] is None
    assert changed["one bit flipped"] not in (None, CONTENT)


def test_an_outcome_says_what_a_user_would_see() -> None:
    config = json.dumps({"number": 0})
    assert str(Outcome(1, 0, 0, 0, ())) == "exit code 1, an error"
    assert str(Outcome(0, 6, 6, 0, (config,) * 6)) == "exit code 0, 6 of 6 trials with their result, 0 steps trained"
    assert "1 new trial with an empty config" in str(Outcome(0, 1, 0, 16, ("{}",)))
