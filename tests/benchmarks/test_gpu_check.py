"""The GPU check: it says where there is no GPU, survives a part that fails, and runs at toy size on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from benchmarks import gpu_check
from benchmarks.gpu import acting, arms, precision, report
from benchmarks.gpu.scale import TINY, Scale
from benchmarks.gpu_check import NO_GPU, PARTS, Part, main
from tests.helpers.places import ROOT


def parts_of(place: Path) -> dict[str, dict[str, object]]:
    return {part["name"]: part for part in json.loads((place / "gpu_check.json").read_text())["parts"]}


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    with patch.dict(os.environ):  # put back what the command sets
        yield


def test_a_machine_without_a_gpu_measures_nothing_and_names_the_way_to_try(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--out", str(tmp_path)]) == NO_GPU
    assert "--tiny --device cpu" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_part_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "speed,spede"])
    assert ended.value.code == 2
    assert f"no part 'spede'; there are {', '.join(PARTS)}" in capsys.readouterr().err


def good(scale: Scale) -> report.Rows:
    yield {"value": 1.0}


def bad(scale: Scale) -> report.Rows:
    yield {"value": 2.0}
    raise ValueError("half way")


def without_a_library(scale: Scale) -> report.Rows:
    yield {"value": 3.0}
    raise ModuleNotFoundError("No module named 'deepspeed'")


def endless(scale: Scale) -> report.Rows:
    while True:
        yield {"value": 4.0}


def test_a_part_that_fails_keeps_its_rows_and_the_next_one_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [bad, without_a_library, endless, good]
    invented = {one.__name__: Part("invented", "invented", one.__name__, 0.01) for one in chosen}
    monkeypatch.setattr(gpu_check, "PARTS", invented)
    monkeypatch.setattr(gpu_check.importlib, "import_module", lambda name: sys.modules[__name__])
    assert main(["--only", ",".join(invented), "--device", "cpu", "--tiny", "--out", str(tmp_path)]) == 1
    told = parts_of(tmp_path)
    assert [told[one.__name__]["rows"][0]["value"] for one in chosen] == [2.0, 3.0, 4.0, 1.0]
    assert told["bad"]["status"] == "FAILED: ValueError: half way"
    assert told["without_a_library"]["status"] == "ended early: No module named 'deepspeed'"
    assert told["endless"]["status"].startswith("stopped after")
    assert told["good"]["status"] == "done"
    assert "Traceback" in capsys.readouterr().out
    assert "| value |\n| --- |\n| 1 |" in (tmp_path / "gpu_check.md").read_text()


def test_the_slope_is_one_where_scaling_acts_and_nought_where_it_does_not() -> None:
    draw = torch.Generator().manual_seed(0)
    plain_OI, x_MI = torch.randn(64, 64, generator=draw).double(), torch.randn(512, 64, generator=draw).double()
    acting_OI = plain_OI * (1 + 0.01 * torch.randn(64, 1, generator=draw).double())
    for weight_OI, slope in ((acting_OI, 1.0), (plain_OI, 0.0)):
        effect = acting._regressed(x_MI, acting_OI, plain_OI, x_MI @ weight_OI.mT)
        assert effect["slope"] == pytest.approx(slope, abs=1e-9)
        assert effect["error / effect"] == pytest.approx(1 - slope, abs=1e-9)


def share_of_update(name: str) -> float:
    """Return the norm of the update that an arm gets for a wanted share of 2 %, by that of the weight."""
    weight_OI, x_MI = torch.randn(32, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 32)
    ours = acting.OURS.get(name)
    _, plain_OI, _ = acting._ours(weight_OI, x_MI, 0.02, *ours) if ours else acting._peft(weight_OI, x_MI, 0.02)
    return float((plain_OI - weight_OI).norm() / weight_OI.norm())


@pytest.mark.parametrize("name", [*acting.OURS, pytest.param("PEFT DoRA", marks=pytest.mark.slow)])
def test_updates_are_grown_to_their_share_of_the_weight(name: str) -> None:
    added = 2 if name.startswith("D2-LoRA") else 1  # it adds its update once more
    assert share_of_update(name) == pytest.approx(0.02 * added, rel=1e-5)


def test_noise_is_measured_in_the_mode_that_the_product_trains_in(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, bool]] = []
    train = arms.train

    def watched(*args: Any) -> Any:
        on = torch.are_deterministic_algorithms_enabled()
        seen.append((on, torch.is_deterministic_algorithms_warn_only_enabled()))
        if on:  # torch's own refusal, of an operation without a deterministic form on any device
            torch.put(torch.zeros(2), torch.tensor([0]), torch.ones(1), accumulate=False)
        return train(*args)

    monkeypatch.setattr(arms, "train", watched)
    rows = [row for row in precision.noise_rows(TINY) if row["type"] == "float32"]
    assert [row["compared"] for row in rows] == [
        "the same pack twice",
        "the same pack twice, deterministic",
        "another data seed",
    ]
    assert set(seen) == {(False, False), (True, False)}
    assert "does not have a deterministic implementation" in str(rows[1]["raised"])
    assert "adapters apart" not in rows[1]
    assert rows[0]["raised"] == "-"
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.slow
def test_every_part_runs_at_toy_size_on_a_cpu(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check", "--tiny", "--device", "cpu", "--out", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert told.returncode == 0, told.stdout[-5000:] + told.stderr[-3000:]
    parts = parts_of(tmp_path)
    assert {name: part["status"] for name, part in parts.items()} == dict.fromkeys(PARTS, "done")
    lanes = [row["lanes"] for row in parts["speed"]["rows"]]
    assert max(lanes) == max(TINY.lanes)
    assert {row["engine"] for row in parts["zero"]["rows"]} == {"plain", *(f"ZeRO-{stage}" for stage in range(4))}
    exact = [row["adapters apart"] for row in parts["solo"]["rows"] if row["type"] == "float32"]
    assert max(exact) < 1e-5
