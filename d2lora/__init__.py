"""Low-rank adapters (D2-LoRA, DoRA, LoRA), many at a time over one frozen base.

`attach` puts adapters on a model, `lane_rows` says which rows of a batch belong to which adapter, `merge` makes one
adapter part of the weights, and `save` writes one to disk. A name that needs torch is imported when it is first used,
so a planner can read methods and their settings without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from d2lora.methods import available_methods, get_method

if TYPE_CHECKING:
    from d2lora.attachment import attach, attach_lanes, detach, merge, merge_
    from d2lora.batches import held_factors, lane_rows
    from d2lora.formats.as_lora import to_lora
    from d2lora.formats.directory import load, save
    from d2lora.formats.peft_files import LoraExport
    from d2lora.layers.adaptable import match_targets
    from d2lora.layers.frozen import freeze
    from d2lora.layers.lanes import Lane
    from d2lora.state import (
        adapter_parameters,
        adapter_state,
        describe_adapter,
        lane_of,
        load_adapter_state,
        print_trainable_parameters,
    )

_LAZY = {
    "attach": "attachment",
    "attach_lanes": "attachment",
    "detach": "attachment",
    "merge": "attachment",
    "merge_": "attachment",
    "held_factors": "batches",
    "lane_rows": "batches",
    "match_targets": "layers.adaptable",
    "Lane": "layers.lanes",
    "freeze": "layers.frozen",
    "load": "formats.directory",
    "save": "formats.directory",
    "LoraExport": "formats.peft_files",
    "to_lora": "formats.as_lora",
    "adapter_parameters": "state",
    "adapter_state": "state",
    "describe_adapter": "state",
    "lane_of": "state",
    "load_adapter_state": "state",
    "print_trainable_parameters": "state",
}

__all__ = [
    "Lane",
    "LoraExport",
    "adapter_parameters",
    "adapter_state",
    "attach",
    "attach_lanes",
    "available_methods",
    "describe_adapter",
    "detach",
    "freeze",
    "get_method",
    "held_factors",
    "lane_of",
    "lane_rows",
    "load",
    "load_adapter_state",
    "match_targets",
    "merge",
    "merge_",
    "print_trainable_parameters",
    "save",
    "to_lora",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'd2lora' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"d2lora.{_LAZY[name]}"), name)
    return value
