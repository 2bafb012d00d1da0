"""Saves and loads an adapter as a directory: in PEFT's format if PEFT has the method, else in our own.

Our format is two files: ``adapter.safetensors``, the lane's tensors by their own names, and ``adapter.json``, the
method and settings. It holds everything. PEFT's format holds the effective weight only, but other tools read it. A
D2-LoRA that equals a DoRA or a LoRA of rank 2r is saved in both formats.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from d2lora.attachment import layers_with_lane
from d2lora.formats import peft_files
from d2lora.formats.as_lora import exact_form
from d2lora.formats.tensor_files import SAVE, read_json, read_tensors, write_tensors
from d2lora.layers.adapted import AdaptedLinear
from d2lora.layers.lanes import Lane
from d2lora.method import PeftForm
from d2lora.state import adapter_state, describe_adapter, load_adapter_state

TENSORS, DESCRIPTION = "adapter.safetensors", "adapter.json"
IS_DORA = {"lora": False, "dora": True}
"""The methods that PEFT has itself, so that its directory holds everything, and PEFT's ``use_dora`` for each."""
KINDS: dict[str, type] = {"method": str, "config": dict, "layers": dict, "base": str}
FREE = ("dropout", "start", "norm_grad", "minus")
"""Settings in which a saved adapter may differ from the lane that loads it: they change training, not the output."""


def save(model: nn.Module, folder: str | Path, lane: int = 0, *, base: str | None = None) -> None:
    """Write the lane's adapter into ``folder``, which is created if it is missing.

    LoRA and DoRA are saved in PEFT's format (``adapter_config.json``, ``adapter_model.safetensors``), for
    ``peft.PeftModel.from_pretrained(base, folder)``. Every other method is saved in our format. D2-LoRA is saved in
    both formats if it equals a method of PEFT's: without projection a LoRA, with readd=0 and norm_axis=out a DoRA, both
    of rank 2r. ``base`` is the base's name or path in PEFT's config; the default is the name that the model has.

    ValueError: no adapters, no such lane, or tensors that are not finite.

    >>> import d2lora, tempfile, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> folder = Path(tempfile.mkdtemp())
    >>> d2lora.save(d2lora.attach(model, "lora", lora, ["0"], lanes=2), folder, lane=1)
    >>> sorted(file.name for file in folder.iterdir())
    ['adapter_config.json', 'adapter_model.safetensors']
    """
    folder = Path(folder)
    spec = next(iter(layers_with_lane(model, lane).values())).lanes[lane]
    export = exact_form(model, lane)
    if export is None:
        _remove(folder, peft_files.CONFIG, peft_files.TENSORS)
    else:
        export.save(folder, base)
    if export is not None and spec.method in IS_DORA:
        _remove(folder, DESCRIPTION, TENSORS)
        return
    description = describe_adapter(model, lane) | {"peft_sha256": _digest(folder)}
    write_tensors(folder / TENSORS, adapter_state(model, lane))
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2, sort_keys=True) + "\n")


def load(model: nn.Module, folder: str | Path, lane: int = 0) -> None:
    """Read an adapter that `save` or PEFT wrote into a lane of an adapted model.

    Afterwards the lane computes what the saved adapter computes. If the scale differs (alpha, rsLoRA), ``up`` is
    multiplied by the quotient. If a layer's rank is smaller than the lane's, zeros fill the other ranks.

    ValueError, with nothing changed: a folder without an adapter, damaged files, another method than the lane's, other
    layers, a larger rank, or a PEFT adapter that is more than a LoRA or DoRA of linear layers.

    >>> import d2lora, tempfile, torch
    >>> model, lora = torch.nn.Sequential(torch.nn.Linear(8, 4)), d2lora.get_method("lora").Config(rank=2)
    >>> folder = tempfile.mkdtemp()
    >>> d2lora.save(d2lora.attach(model, "lora", lora, ["0"], lanes=2), folder, lane=1)
    >>> d2lora.load(model, folder, lane=0)
    >>> torch.equal(model[0].down_0, model[0].down_1)
    True
    """
    folder = Path(folder)
    layers = layers_with_lane(model, lane)
    spec = next(iter(layers.values())).lanes[lane]
    if (folder / DESCRIPTION).is_file():
        description, state = read_own(folder)
        _check_same(folder, description, spec)
        load_adapter_state(model, state, lane)
    elif (folder / peft_files.CONFIG).is_file():
        load_adapter_state(model, _from_peft(folder, layers, spec), lane)
    else:
        raise ValueError(
            f"{folder} holds no adapter: neither {DESCRIPTION} nor {peft_files.CONFIG} is there. Give its folder."
        )


def read_own(
    folder: Path, needs: Sequence[str] = ("method", "config", "layers")
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the description and the tensors of a directory in our format.

    ``needs`` are the keys that the description must have. ValueError if a file cannot be read, if a key is missing, or
    if PEFT's file beside them has changed since they were saved together.
    """
    description = read_json(folder / DESCRIPTION)
    missing = [key for key in needs if not isinstance(description.get(key), KINDS.get(key, object))]
    if missing:
        raise ValueError(f"{folder / DESCRIPTION} is no adapter's description: {', '.join(missing)} is missing. {SAVE}")
    if description.get("peft_sha256") not in (None, _digest(folder)):
        raise ValueError(
            f"{folder / peft_files.TENSORS} is not the one that was saved with {DESCRIPTION}: it was trained on, or "
            f"replaced. Take {DESCRIPTION} and {TENSORS} away to read PEFT's, or save the adapter again."
        )
    return description, read_tensors(folder / TENSORS)


def _remove(folder: Path, *names: str) -> None:
    """Remove files that another adapter may have left in ``folder``: `load` would read them instead of the new ones."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def _digest(folder: Path) -> str | None:
    file = folder / peft_files.TENSORS
    if not file.is_file():
        return None
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_same(folder: Path, description: Mapping[str, Any], spec: Lane) -> None:
    """Raise ValueError if the saved adapter has another method than the lane, or settings that change the output."""
    if description["method"] != spec.method:
        raise ValueError(_other_method(folder, str(description["method"]), spec))
    ours = {name: getattr(spec.config, name) for name in spec.config.__dataclass_fields__}
    differ = [
        f"{name} is {description['config'].get(name)!r} there and {value!r} in the lane"
        for name, value in ours.items()
        if name not in FREE and description["config"].get(name, value) != value
    ]
    if differ:
        raise ValueError(f"{folder} has other settings: {'; '.join(differ)}. Attach a lane with those of the folder.")


def _other_method(folder: Path, method: str, spec: Lane) -> str:
    return f"{folder} holds an adapter of method {method!r}, the lane is {spec}: attach a lane of method {method!r}."


def _from_peft(folder: Path, layers: Mapping[str, AdaptedLinear], spec: Lane) -> dict[str, Tensor]:
    """Return the state with which the lane computes what the adapter in PEFT's directory computes."""
    forms, config = peft_files.read_peft(folder)
    is_dora = bool(config.get("use_dora"))
    if IS_DORA.get(spec.method) != is_dora:
        raise ValueError(_other_method(folder, "dora" if is_dora else "lora", spec))
    missing, extra = sorted(layers.keys() - forms.keys()), sorted(forms.keys() - layers.keys())
    if missing or extra:
        raise ValueError(
            f"{folder} is for other layers: {len(missing)} of the lane's are not there {missing[:3]}, and {len(extra)} "
            f"are not the lane's {extra[:3]}. Attach a lane to the layers of the folder."
        )
    largest = max(form.down_RI.shape[0] for form in forms.values())
    if largest > spec.config.rank:
        raise ValueError(f"{folder} has rank {largest}, the lane {spec.config.rank}: attach a lane of rank {largest}.")
    return {f"{name}.{part}": tensor for name, form in forms.items() for part, tensor in _params(form, spec).items()}


def _params(form: PeftForm, spec: Lane) -> dict[str, Tensor]:
    """Return the parameters of one layer's LoRA or DoRA at the lane's rank and scale."""
    factor, missing = form.scale / spec.config.scale, spec.config.rank - form.down_RI.shape[0]
    up_OR = form.up_OR if abs(factor - 1) < 1e-12 else form.up_OR.double() * factor
    params = {"up": pad(up_OR, (0, missing)), "down": pad(form.down_RI, (0, 0, 0, missing))}
    return params if form.magnitude_O is None else params | {"magnitude": form.magnitude_O}
