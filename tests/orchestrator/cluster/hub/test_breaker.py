"""The circuit breaker: what fails everywhere is tried three times."""

from __future__ import annotations

from orchestrator.cluster.hub.breaker import CRASHES, LIKE, NOT_TRIED, Breaker, closed_by_breaker, last_line


def failed(breaker: Breaker, *errors: str, steps: int = 0) -> list[str | None]:
    return [breaker.failed(error, steps) for error in errors]


def test_the_third_pack_in_a_row_that_fails_alike_ends_the_trying() -> None:
    why = failed(Breaker(), *["Traceback\nOSError: no mount"] * LIKE)
    assert why == [None, None, f"{NOT_TRIED} 3 packs in a row failed alike before their first step: OSError: no mount"]
    assert closed_by_breaker(["another", str(why[-1])])
    assert not closed_by_breaker(["another"])


def test_run_keys_in_the_error_make_no_difference() -> None:
    paths = [f"PermissionError: '/mnt/runs/{key * 16}'" for key in "abc"]
    assert failed(Breaker(), *paths)[-1]


def test_other_errors_steps_and_packs_that_end_well_begin_the_count_anew() -> None:
    breaker = Breaker()
    assert failed(breaker, "a", "a", "b", "a", "a") == [None] * 5
    assert failed(breaker, "a", steps=1) == [None]
    assert failed(breaker, "a", "a") == [None] * 2
    breaker.went_well()
    assert failed(breaker, "a", "a") == [None] * 2


def test_packs_without_memory_are_no_reason_to_stop_because_narrower_ones_may_fit() -> None:
    assert failed(Breaker(), *["torch.OutOfMemoryError: CUDA out of memory."] * 5) == [None] * 5


def test_the_last_line_is_the_last_that_says_something() -> None:
    assert last_line("Traceback\n  ValueError: bad \n\n") == "ValueError: bad"
    assert last_line(" \n") == "no message"


def test_six_lost_trainers_in_a_row_with_three_packs_end_the_trying() -> None:
    breaker = Breaker()
    assert [breaker.lost(pack, "crash") for pack in ("a", "a", "a", "b", "b", "b")] == [None] * CRASHES
    why = breaker.lost("c", "Traceback\nSIGSEGV")
    assert why == (f"{NOT_TRIED} 7 trainers in a row, with 3 different packs, were lost before any new step: SIGSEGV")
    assert closed_by_breaker([why])


def test_a_step_takes_away_the_losses_of_its_own_pack_and_a_good_end_all_losses() -> None:
    breaker = Breaker()
    for pack in "aabbc":
        assert breaker.lost(pack, "crash") is None
    breaker.stepped("never lost")
    breaker.stepped("a")
    assert breaker.lost("d", "crash") is None
    breaker.went_well()
    assert [breaker.lost(pack, "crash") for pack in "aabbc"] == [None] * 5
    assert breaker.lost("c", "crash") is not None
