"""PEFT's directory of a LoRA or DoRA: its two files, the names of its tensors, and its config."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from d2lora.formats.tensor_files import SAVE, read_json, read_tensors, write_tensors
from d2lora.method import PeftForm

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."
UP, DOWN, MAGNITUDE = ".lora_B.weight", ".lora_A.weight", ".lora_magnitude_vector"
HARMLESS = {
    "peft_type",
    "task_type",
    "auto_mapping",
    "peft_version",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "runtime_config",
    "r",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "lora_alpha",
    "alpha_pattern",
    "use_rslora",
    "lora_dropout",
    "use_dora",
    "init_lora_weights",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "megatron_core",
    "qalora_group_size",
    "ensure_weight_tying",
}
"""The fields of PEFT's LoraConfig that are read here, or that change nothing once an adapter is trained."""
MOST_REPEATS = 3
"""The most `*`, `+` and `{` in a pattern of layers."""
CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Values of ``init_lora_weights`` for which PEFT changes the base before it trains."""


@dataclass(frozen=True)
class LoraExport:
    """An adapter in PEFT's format.

    state   the tensors, by PEFT's names
    config  the fields of PEFT's LoraConfig
    error   ``|update - exported| / |update|``, Frobenius norms over all layers; 0 for an exact export
    """

    state: dict[str, Tensor]
    config: dict[str, Any]
    error: float

    def save(self, folder: str | Path, base: str | None = None) -> None:
        """Write PEFT's directory, for ``peft.PeftModel.from_pretrained(model, folder)``.

        ``base`` is the name or path of the model to which the adapter belongs, for PEFT's config; None keeps the name
        in ``config``. ValueError for tensors that are not finite.
        """
        folder = Path(folder)
        config = self.config | ({} if base is None else {"base_model_name_or_path": base})
        write_tensors(folder / TENSORS, self.state)
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def exported(model: nn.Module, forms: Mapping[str, PeftForm], dropout: float = 0.0, error: float = 0.0) -> LoraExport:
    """Return the forms of layers, by the layers' names, in PEFT's format; all forms are LoRAs, or all are DoRAs.

    ValueError for a model that is a single layer, because PEFT needs a name for each layer.
    """
    if "" in forms:
        raise ValueError("PEFT names the layers of a model, and this model is one layer: put it into a larger one.")
    state: dict[str, Tensor] = {}
    for name, form in forms.items():
        parts = {DOWN: form.down_RI, UP: form.up_OR, MAGNITUDE: form.magnitude_O}
        state |= {PREFIX + name + part: tensor.detach().clone() for part, tensor in parts.items() if tensor is not None}
    return LoraExport(state, _config(model, forms, dropout), error)


def _config(model: nn.Module, forms: Mapping[str, PeftForm], dropout: float) -> dict[str, Any]:
    """Return PEFT's config: the largest rank and alpha, and a pattern for each layer with another rank or alpha."""
    ranks = {name: form.down_RI.shape[0] for name, form in forms.items()}
    alphas = {name: _plain(form.scale * ranks[name]) for name, form in forms.items()}
    rank, alpha = max(ranks.values()), max(alphas.values())
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if hasattr(model, "prepare_inputs_for_generation") else None,
        "base_model_name_or_path": getattr(getattr(model, "config", None), "_name_or_path", None) or None,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {_pattern(name): other for name, other in ranks.items() if other != rank},
        "alpha_pattern": {_pattern(name): other for name, other in alphas.items() if other != alpha},
        "target_modules": _targets(model, ranks),
        "lora_dropout": dropout,
        "use_dora": any(form.magnitude_O is not None for form in forms.values()),
        "bias": "none",
        "inference_mode": True,
    }


def read_peft(folder: Path) -> tuple[dict[str, PeftForm], dict[str, Any]]:
    """Return the form of each layer in PEFT's directory, and PEFT's config.

    ValueError if the files cannot be read, or if they hold anything but a LoRA or DoRA of linear layers.
    """
    config = read_json(folder / CONFIG)
    _check_config(folder, config)
    _check_numbers(folder, config)
    state = read_tensors(folder / TENSORS)
    forms: dict[str, PeftForm] = {}
    for key in sorted(key for key in state if key.endswith(DOWN) and key.startswith(PREFIX)):
        name = key[len(PREFIX) : -len(DOWN)]
        down_RI, up_OR = state.pop(key), state.pop(PREFIX + name + UP, None)
        if up_OR is None or up_OR.ndim != 2 or down_RI.ndim != 2 or up_OR.shape[1] != down_RI.shape[0]:
            raise ValueError(
                f"{folder / TENSORS}: {PREFIX + name + UP} is missing, or of another rank than {key}. {SAVE}"
            )
        magnitude_O = state.pop(PREFIX + name + MAGNITUDE, None)
        if (magnitude_O is not None) != bool(config.get("use_dora")):
            raise ValueError(f"{folder}: use_dora={config.get('use_dora')!r}, but {name} has other tensors. {SAVE}")
        forms[name] = PeftForm(up_OR, down_RI, _scale(config, name, down_RI.shape[0]), magnitude_O)
    if state or not forms:
        raise ValueError(
            f"{folder / TENSORS} holds {sorted(state)[:3] or 'no tensors'}, which are of no linear layer. {SAVE}"
        )
    return forms, config


def _check_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ValueError for a config that asks for more than a LoRA or DoRA of linear layers over an unchanged base."""
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ValueError(
            f"{folder / CONFIG} has peft_type={kind!r}: only LORA (and DoRA, its use_dora) can be read. "
            "Take such an adapter."
        )
    more = [
        name for name, value in config.items() if name not in HARMLESS and value not in (None, False, "none", {}, [])
    ]
    if more:
        asked = ", ".join(f"{name}={config[name]!r}" for name in sorted(more))
        raise ValueError(
            f"{folder / CONFIG} asks for more than a LoRA of linear layers: {asked[:300]}. This cannot be read. "
            "Take a plain one."
        )
    start = str(config.get("init_lora_weights"))
    if start.lower().startswith(CHANGED_BASE):
        raise ValueError(
            f"{folder / CONFIG} has init_lora_weights={start!r}: it belongs to a base that PEFT has changed. Save it "
            "with PEFT's path_initial_model_for_weight_conversion, which makes it a LoRA of the base itself."
        )


def _check_numbers(folder: Path, config: Mapping[str, Any]) -> None:
    """Raise ValueError for an alpha that is no finite number, or a pattern that could take long to match."""
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ValueError(f"{folder / CONFIG}: alpha_pattern is no mapping of patterns. {SAVE}")
    for name, alpha in [("lora_alpha", config.get("lora_alpha")), *patterns.items()]:
        if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise ValueError(f"{folder / CONFIG}: the alpha of {name[:80]} is no finite number. {SAVE}")
    for pattern in patterns:
        if not _is_quick(pattern):
            raise ValueError(
                f"{folder / CONFIG}: alpha_pattern {pattern[:80]!r} is no pattern that is matched here. "
                "Write the names of layers there."
            )


def _is_quick(pattern: str) -> bool:
    """Return whether a pattern is a regular expression without repeated groups and with few repeats.

    Only such patterns match in a time that is bounded; the patterns of `exported` are of this kind.
    """
    plain = re.sub(r"\\.", "", pattern)
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return (
        len(pattern) <= 500 and not re.search(r"\)[*+{?]", plain) and len(re.findall(r"[*+{]", plain)) <= MOST_REPEATS
    )


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    """Return the scale by which PEFT multiplies the layer's ``up @ down``: alpha / r, or alpha / sqrt(r) for rsLoRA."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    matching = (value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name))
    alpha = next(matching, config["lora_alpha"])
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _targets(model: nn.Module, names: Iterable[str]) -> list[str] | str:
    """Return PEFT's ``target_modules`` for exactly these layers.

    PEFT matches a list of names by the ends of names. If such an end also matches another layer of the model, the
    result is a regular expression instead, which matches whole names.
    """
    names = sorted(names)
    ends = tuple(f".{name}" for name in names)
    if any(name.endswith(ends) and name not in names for name, _ in model.named_modules()):
        return "|".join(re.escape(name) for name in names)
    return names


def _pattern(name: str) -> str:
    """Return the key that matches only this layer in PEFT's rank_pattern and alpha_pattern."""
    return "^" + re.escape(name)


def _plain(number: float) -> float:
    """Return an int for a number that is whole up to rounding, because people write alpha as 16, not 16.0."""
    return round(number) if abs(number - round(number)) < 1e-9 * abs(number) else number
