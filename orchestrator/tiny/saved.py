"""The state of pre-training in one file: weights and AdamW's moments after a step, sealed by a sha256."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.files import write_bytes

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

SECONDS = 5.0  # between two saves
MOMENTS = ("exp_avg", "exp_avg_sq")
_DIGITS = 64  # of a sha256 in hexadecimal, with which the file begins


@dataclass
class Saved:
    """The file ``path``, from which pre-training goes on after a kill; a damaged file counts as no file."""

    path: Path
    last: float = field(default_factory=time.monotonic)

    def save(self, step: int, model: nn.Module, optimizer: Optimizer) -> None:
        """Write the state after ``step`` steps, if it is time."""
        if time.monotonic() - self.last < SECONDS:
            return
        import torch
        from safetensors.torch import save

        tensors = {f"weight/{name}": parameter.data for name, parameter in model.named_parameters()}
        for name, parameter in model.named_parameters():
            tensors |= {f"{moment}/{name}": optimizer.state[parameter][moment] for moment in MOMENTS}
        content = save(tensors | {"step": torch.tensor(step)})
        write_bytes(self.path, hashlib.sha256(content).hexdigest().encode() + content)
        self.last = time.monotonic()

    def restore(self, model: nn.Module, optimizer: Optimizer) -> int:
        """Put the saved state into an untrained model and its optimizer; return the step, 0 without a sound file."""
        import torch

        tensors, step = self._read()
        if not tensors:
            return 0
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[f"weight/{name}"])
                moments = {moment: tensors[f"{moment}/{name}"] for moment in MOMENTS}
                optimizer.state[parameter] = {"step": torch.tensor(float(step)), **moments}
        return step

    def _read(self) -> tuple[dict[str, Any], int]:
        try:
            content = self.path.read_bytes()
        except OSError:
            return {}, 0
        digest, body = content[:_DIGITS], content[_DIGITS:]
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return {}, 0
        from safetensors.torch import load

        tensors = load(body)
        return tensors, int(tensors.pop("step"))
