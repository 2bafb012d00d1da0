"""Small random models of many architectures."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

SIZES = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 4}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2}
LOUD = {
    "initializer_range": 0.3,
    "pad_token_id": 0,
}  # large weights, so that a token that a layer sees changes the logits
OLD = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4} | LOUD
WINDOW = 9
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}
WINDOWED = SIZES | LOUD | {"sliding_window": WINDOW}
FALCON = OLD | {"new_decoder_architecture": False}
ARCHITECTURES: dict[str, tuple[str, dict[str, Any], bool, bool]] = {
    # name: model_type, settings, has windows, takes a mask of four dimensions
    "llama": ("llama", SIZES | LOUD, False, True),
    "mistral": ("mistral", WINDOWED, True, True),
    "gemma2": ("gemma2", WINDOWED | {"final_logit_softcapping": 3.0, "query_pre_attn_scalar": 4}, True, True),
    "gemma3": ("gemma3_text", WINDOWED, True, True),
    "cohere": ("cohere", SIZES | LOUD | {"logit_scale": 0.5}, False, True),
    "cohere2": ("cohere2", WINDOWED, True, True),
    "granite": ("granite", SIZES | LOUD | {"logits_scaling": 0.3, "embedding_multiplier": 3.0}, False, True),
    "hyperclovax": ("hyperclovax", SIZES | LOUD | {"logits_scaling": 3.0}, False, True),
    "nanochat": ("nanochat", SIZES | LOUD | {"final_logit_softcapping": 3.0}, False, True),
    "falcon": ("falcon", FALCON | {"alibi": False, "multi_query": True, "parallel_attn": True}, False, True),
    "falcon alibi": ("falcon", FALCON | {"alibi": True, "multi_query": False, "parallel_attn": False}, False, False),
    "bloom": ("bloom", {"vocab_size": 50, "hidden_size": 16, "n_layer": 2, "n_head": 4} | LOUD, False, False),
    "opt": ("opt", OLD | {"ffn_dim": 32, "max_position_embeddings": 32, "word_embed_proj_dim": 8}, False, True),
    "gpt2": ("gpt2", {"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 4} | LOUD, False, True),
    "phi3": ("phi3", WINDOWED, True, True),
    "starcoder2": ("starcoder2", WINDOWED, True, True),
    "qwen2_moe": ("qwen2_moe", SIZES | LOUD | EXPERTS, False, True),
    "gpt_oss": ("gpt_oss", WINDOWED | {"num_local_experts": 4}, True, True),
}


def architecture(name: str, **more: Any) -> nn.Module:
    """Return a random model of `ARCHITECTURES`."""
    kind, settings, *_ = ARCHITECTURES[name]
    return _made(kind, settings | more)


def model_of(name: str, **settings: Any) -> nn.Module:
    return _made(name, SIZES | settings)


def _made(kind: str, settings: dict[str, Any]) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model: nn.Module = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
    return model.eval()
