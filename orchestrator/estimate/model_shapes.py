"""A model's shape without torch: its linear layers and its parameters, from its config or a published config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2lora.names import last_parts, matching
from orchestrator.errors import InputError
from orchestrator.files import read_json
from orchestrator.paths import readable
from orchestrator.recipe.sections import ModelSpec
from orchestrator.tiny import TinySettings
from orchestrator.tiny.tokenizer import vocabulary

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # `model_type`s whose blocks are the seven matrices below
BODY = "model.layers"


@dataclass(frozen=True)
class ModelShape:
    """The shape of a decoder of Llama's form.

    ``block_extra`` are the parameters of a block beside its matrices and its two norms: biases, and further norms.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    block_extra: int = 0

    def linears(self) -> dict[str, tuple[int, int]]:
        """Return every linear layer's (out, in) by the name that it has in transformers."""
        query, key_value = self.heads * self.head_dim, self.kv_heads * self.head_dim
        block = {
            "self_attn.q_proj": (query, self.hidden),
            "self_attn.k_proj": (key_value, self.hidden),
            "self_attn.v_proj": (key_value, self.hidden),
            "self_attn.o_proj": (self.hidden, query),
            "mlp.gate_proj": (self.intermediate, self.hidden),
            "mlp.up_proj": (self.intermediate, self.hidden),
            "mlp.down_proj": (self.hidden, self.intermediate),
        }
        blocks = {f"{BODY}.{layer}.{name}": size for layer in range(self.layers) for name, size in block.items()}
        return blocks | {"lm_head": (self.vocab, self.hidden)}

    def targets(self, patterns: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Return the (out, in) of the linear layers that any pattern matches; InputError if one matches none."""
        linears = self.linears()
        chosen: set[str] = set()
        for pattern in patterns:
            named = matching(linears, pattern)
            if not named:
                raise InputError(
                    f"targets: {pattern!r} matches no linear layer of the model. There are: {last_parts(linears)}."
                )
            chosen.update(named)
        return {name: size for name, size in linears.items() if name in chosen}

    @property
    def body(self) -> int:
        """The number of weights in the matrices of all blocks, which every token is multiplied with."""
        return sum(out * into for name, (out, into) in self.linears().items() if name.startswith(BODY))

    @property
    def head(self) -> int:
        """The number of weights in the head (and in the embedding); only tokens of answers are multiplied with it."""
        return self.vocab * self.hidden

    def parameters(self) -> int:
        """Return the number of parameters, a tied head counted once."""
        norms = self.hidden * (2 * self.layers + 1)
        return self.body + self.head * (1 if self.tied else 2) + norms + self.layers * self.block_extra


# From the config.json that each model is published with.
PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": ModelShape(576, 1536, 30, 9, 3, 64, 49152, tied=True),
    "meta-llama/Llama-3.2-3B-Instruct": ModelShape(3072, 8192, 28, 24, 8, 128, 128256, tied=True),
    "Qwen/Qwen2.5-7B-Instruct": ModelShape(3584, 18944, 28, 28, 4, 128, 152064, tied=False, block_extra=4608),
}


def shape_of(spec: ModelSpec) -> tuple[ModelShape | None, str]:
    """Return the shape of the recipe's base, and where the shape is from; None if only a fetched base shows it.

    InputError where ``model.path`` is no directory with a model.
    """
    if spec.path is not None:
        path = readable(spec.path).resolve()
        if not path.is_dir():
            raise InputError(f"model.path={spec.path} is not a directory with a model.")
        return _from_config(path / "config.json")
    if spec.name == "tiny":
        return tiny_shape(TinySettings()), "the tiny base's settings"
    if spec.name in PUBLISHED:
        return PUBLISHED[spec.name], "its published configuration"
    return None, f"The shape of {spec.name} is unknown until it is fetched; with model.path=DIR it is read from there."


def tiny_shape(settings: TinySettings) -> ModelShape:
    """Return the shape of the base that pre-training with ``settings`` makes."""
    return ModelShape(
        hidden=settings.hidden,
        intermediate=settings.intermediate,
        layers=settings.layers,
        heads=settings.heads,
        kv_heads=settings.kv_heads,
        head_dim=settings.hidden // settings.heads,
        vocab=len(vocabulary()),
        tied=True,
    )


def _from_config(file: Path) -> tuple[ModelShape | None, str]:
    config = read_json(file)
    if not isinstance(config, dict):
        raise InputError(f"{file} is missing or is not JSON: model.path is a directory with a model.")
    if config.get("model_type") not in FAMILIES:
        kind = config.get("model_type")
        return None, f"{file} is of model_type {kind!r}; the plan knows the shapes of {', '.join(FAMILIES)}."
    hidden, heads = _size(config, "hidden_size", file), _size(config, "num_attention_heads", file)
    bare = ModelShape(
        hidden=hidden,
        intermediate=_size(config, "intermediate_size", file),
        layers=_size(config, "num_hidden_layers", file),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", file, heads),
        head_dim=_size(config, "head_dim", file, hidden // heads),
        vocab=_size(config, "vocab_size", file),
        tied=bool(config.get("tie_word_embeddings", False)),
    )
    return ModelShape(**{**vars(bare), "block_extra": _extra(config, bare)}), str(file)


def _size(config: Mapping[str, Any], key: str, file: Path, otherwise: int | None = None) -> int:
    value = config.get(key)
    size = otherwise if value is None else value
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"{file}: {key} is {value!r}; a whole number of 1 or more is needed.")
    return size


def _extra(config: Mapping[str, Any], shape: ModelShape) -> int:
    """Return the number of biases in a block, and of weights in its norms of queries and keys if it has such norms."""
    outs = {name.rpartition(".")[2]: out for name, (out, _) in shape.linears().items()}
    family = config["model_type"]
    biased: list[str] = []
    if family == "qwen2" or config.get("attention_bias"):
        biased += ["q_proj", "k_proj", "v_proj"]
    if family != "qwen2" and config.get("attention_bias"):
        biased.append("o_proj")
    if family == "llama" and config.get("mlp_bias"):
        biased += ["gate_proj", "up_proj", "down_proj"]
    return sum(outs[name] for name in biased) + (2 * shape.head_dim if family == "qwen3" else 0)
