"""Champions in an object store: a machine that has an older one of equal size gets the present one."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from orchestrator import objects
from orchestrator.files import write_bytes, write_json
from orchestrator.store.champion import EVALUATION, fetch_champion, up_to_date
from tests.helpers.stores import machine, server, store  # noqa: F401 - fixtures


def write_champion(name: str, run_key: str, weights: bytes) -> None:
    place = machine(name) / "small" / "champions" / "task"
    write_bytes(place / "model.safetensors", weights)
    files = {"model.safetensors": sha256(weights).hexdigest()}
    write_json(place / EVALUATION, {"run_key": run_key, "status": "sound", "files": files})


@pytest.mark.slow
def test_a_large_file_of_an_older_champion_of_equal_size_is_replaced(
    store: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objects, "LARGE", 4)
    write_champion("one", "first", b"old weights")
    elsewhere = machine("two") / "small" / "champions" / "task"
    fetch_champion(elsewhere)
    assert up_to_date(elsewhere, "first")
    write_champion("one", "second", b"new weights")
    elsewhere = machine("two") / "small" / "champions" / "task"
    fetch_champion(elsewhere)
    assert (elsewhere / "model.safetensors").read_bytes() == b"new weights"
    assert up_to_date(elsewhere, "second")
