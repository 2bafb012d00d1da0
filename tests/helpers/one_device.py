"""A device that computes nothing, for tests that find tensors left on the CPU without a GPU.

Tensors are on the "meta" device, which has shapes but no values. Its operations mostly accept a CPU tensor without an
error, so `OneDevice` checks every operation, also in backward. A value that the host reads is replaced by 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten: Any = torch.ops.aten
DEVICE = torch.device("meta")
COPIES = {aten.copy_.default, aten._to_copy.default}


class OneDevice(TorchDispatchMode):
    """Within: an operation that gets tensors of the device and of the CPU raises RuntimeError, as it would on a GPU.

    As on a GPU, a copy may go from one to the other, and a CPU tensor of no dimensions counts as a number. A copy to
    the CPU holds ones, and a number that the host reads is 1, or False. ``operations`` counts all operations; ``reads``
    names each operation for which the host had to wait for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.reads: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        kinds = {tensor.device.type for tensor in tensors if tensor.device.type != "cpu" or tensor.dim()}
        if len(kinds) > 1 and func not in COPIES:
            got = ", ".join(f"{tensor.device.type} {tuple(tensor.shape)}" for tensor in tensors)
            raise RuntimeError(f"Expected all tensors to be on the same device, but {func} got {got}.")
        self.operations += 1
        if DEVICE.type in kinds:
            if func is aten._local_scalar_dense.default:
                self.reads.append(str(func))
                return False if tensors[0].dtype == torch.bool else 1
            if func is aten._to_copy.default and _is_cpu(kwargs.get("device")):
                self.reads.append(str(func))
                return torch.ones(tensors[0].shape, dtype=kwargs.get("dtype") or tensors[0].dtype)
            if func is aten.copy_.default and tensors[0].device.type == "cpu":
                self.reads.append(str(func))
                return tensors[0].fill_(1)
        return func(*args, **kwargs)


def _is_cpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cpu"


@contextmanager
def one_device() -> Iterator[OneDevice]:
    """Within: `OneDevice` is on, and moving a module keeps its parameters the same objects, as on a GPU."""
    swap, is_autocast = torch.__future__.get_swap_module_params_on_conversion(), torch.is_autocast_enabled
    torch.__future__.set_swap_module_params_on_conversion(True)
    # torch knows no autocast of this device, and raises when asked
    torch.is_autocast_enabled = lambda kind=None: False if kind == DEVICE.type else is_autocast(*filter(None, [kind]))
    try:
        with OneDevice() as mode:
            yield mode
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swap)
        torch.is_autocast_enabled = is_autocast
