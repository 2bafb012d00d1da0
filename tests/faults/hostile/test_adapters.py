"""Malformed adapters: one ValueError with the file and a remedy, in a second and little memory; nothing is changed."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import pytest
import torch
from torch import nn

import d2lora
from orchestrator.errors import RunError
from orchestrator.store.adapters import load_adapter
from tests.faults.hostile.adapters import CANARY, Adapter, adapters
from tests.faults.hostile.verdict import REMEDY, together
from tests.faults.scorecard import CARD

SECONDS = 1.0
SPARE = 20_000_000  # bytes that parsing may take beside twice the file


def model(method: str) -> nn.Module:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    return d2lora.attach(base, method, d2lora.get_method(method).Config(rank=2), ["0", "1"])


def saved(folder: Path, how: str) -> nn.Module:
    """Save an adapter in our format, which the store reads too, or in PEFT's; return the model that it fits."""
    adapted = model("d2lora" if how == "own" else "lora")
    with torch.no_grad():
        for value in d2lora.adapter_parameters(adapted).values():
            value.normal_()
    d2lora.save(adapted, folder)
    if how == "own":
        file = folder / "adapter.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"base": "b", "targets": ["0"]}))
    return adapted


def faults(adapter: Adapter, folder: Path) -> tuple[list[str], str]:
    """Return what is wrong with the refusal of a spoiled adapter, and the refusal."""
    adapted = saved(folder, adapter.format)
    adapter.change(folder)
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file() and not file.is_symlink())
    before = d2lora.adapter_state(adapted)
    begin, told, wrong = time.process_time(), "", []
    tracemalloc.start()
    try:
        d2lora.load(adapted, folder)
        wrong += [] if adapter.name.startswith("flipped") else ["accepted"]
        return wrong, ""
    except ValueError as error:
        told = str(error)
    except Exception as error:
        wrong.append(f"a traceback: {type(error).__name__}: {error}")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    seconds = time.process_time() - begin
    state = d2lora.adapter_state(adapted)
    rules = {
        f"{seconds:.1f} s": seconds > 3 * SECONDS,  # tracing of memory takes time of its own
        f"{peak:,} bytes for {size:,}": peak > 2 * size + SPARE,
        "no place": str(folder) not in told and "has shape" not in told and "The state" not in told,
        "no remedy": not REMEDY.search(told),
        f"{len(told)} characters": len(told) > 3000,
        "changed the lane": any(not torch.equal(before[name], state[name]) for name in before),
    }
    return wrong + [rule for rule, broken in rules.items() if broken], told


def corpus(count: int, seed: int, folder: Path) -> str:
    results = []
    for number, adapter in enumerate(adapters(count, seed)):
        place = folder / str(number)
        wrong, told = faults(adapter, place)
        results.append((adapter.name, wrong, told))
        if adapter.format == "own" and told and "lane" not in told and "other settings" not in told:
            with pytest.raises(RunError):  # the store reads our format with the same checks
                load_adapter(place, "b")
    assert not Path(CANARY).exists()
    CARD.hostile(results)
    return together(results)


@pytest.mark.parametrize("how", ["own", "peft"])
def test_the_adapters_that_are_spoiled_are_good_ones(how: str, tmp_path: Path) -> None:
    d2lora.load(saved(tmp_path, how), tmp_path)


def test_150_malformed_adapters_are_refused_with_place_and_remedy(tmp_path: Path) -> None:
    wrong = corpus(200, 0, tmp_path)
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.rare
def test_1000_more_with_a_flipped_byte_are_refused_or_load(tmp_path: Path) -> None:
    wrong = corpus(1200, 1, tmp_path)
    assert not wrong, wrong
