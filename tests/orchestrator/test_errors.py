"""Every error has an exit code, and comes out of a pickle as it went in."""

from __future__ import annotations

import pickle

import pytest

from orchestrator import errors

CODES = {
    "InputError": 2,
    "CorruptCacheError": 2,
    "RunError": 1,
    "DamagedRunError": 1,
    "DamagedCheckpointError": 1,
    "FencedError": 1,
    "StoppedError": 1,
    "HeldError": 75,
}


def test_every_error_of_the_file_has_its_exit_code() -> None:
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    assert {name: kind.exit_code for name, kind in kinds.items()} == CODES


@pytest.mark.parametrize("name", CODES)
def test_an_error_survives_pickling(name: str) -> None:
    error = pickle.loads(pickle.dumps(getattr(errors, name)("what, where, and the way out")))
    assert (type(error), str(error)) == (getattr(errors, name), "what, where, and the way out")
