"""The public surface: every name is there, and the examples in its docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys

import pytest
import torch
from torch import nn

import d2lora
from tests.d2lora.layers.test_adapted import lane

MODULES = (
    "attachment",
    "batches",
    "diagnosis.diagnose",
    "diagnosis.numbers",
    "diagnosis.spectra",
    "formats.directory",
    "formats.as_lora",
    "layers.adaptable",
    "layers.dropout",
    "layers.frozen",
    "layers.lanes",
    "methods",
    "names",
    "state",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name: str) -> None:
    result = doctest.testmod(importlib.import_module(f"d2lora.{name}"), extraglobs={"nn": nn, "torch": torch})
    assert result.attempted > 0
    assert result.failed == 0


@pytest.mark.parametrize("name", d2lora.__all__)
def test_every_public_function_has_an_example(name: str) -> None:
    value = getattr(d2lora, name)
    if inspect.isfunction(value):
        assert ">>>" in (value.__doc__ or "")


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="module 'd2lora' has no attribute 'lane_places'"):
        d2lora.lane_places  # noqa: B018


def test_a_planner_reads_methods_and_their_settings_without_torch() -> None:
    code = (
        "import sys, d2lora\n"
        "methods = [d2lora.get_method(name) for name in d2lora.available_methods()]\n"
        "assert all(method.shapes(8, 4, method.Config(rank=2)) for method in methods)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_printed_model_shows_features_and_lanes() -> None:
    lanes = [lane("lora", 0), lane("lora", 1), lane("d2lora", 2, rank=3), lane("lora", 3)]
    model = d2lora.attach_lanes(nn.Sequential(nn.Linear(8, 4, bias=False)), lanes, ["0"])
    shown = "in_features=8, out_features=4, bias=False, lanes: 2 x lora of rank 2, d2lora of rank 3, lora of rank 2"
    assert f"AdaptedLinear({shown})" in repr(model)


def test_trainable_parameters_are_told_lane_by_lane(capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Linear(100, 20), nn.Linear(20, 100))
    d2lora.attach_lanes(model, [lane("lora"), lane("dora", 1, rank=3)], ["*"])
    d2lora.print_trainable_parameters(model)
    assert capsys.readouterr().out == (
        "1,320 of 5,440 parameters are trained (24.26 %): lane 0, lora of rank 2: 480; lane 1, dora of rank 3: 840.\n"
    )
    with pytest.raises(ValueError, match=r"has no adapters: call d2lora.attach first"):
        d2lora.print_trainable_parameters(nn.Linear(2, 2))
