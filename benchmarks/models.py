"""The model of the benches: a Llama with random weights, on one thread."""

from typing import Any

import torch

from orchestrator.recipe.targets import targets_of

TARGETS = targets_of("attention")
ATTENTION, ALL = ([name.removeprefix("*.") for name in targets_of(one)] for one in ("attention", "attention+mlp"))
RANK = 8
LAYERS = 16
"""With fewer layers, the first and last layer, the embedding and the head would weigh more than in real models."""


def one_thread() -> None:
    """Compute on one thread, because the CPU seconds of two threads depend on what else the machine does."""
    torch.set_num_threads(1)


def llama(hidden: int, vocab: int, layers: int = LAYERS, seed: int = 0) -> Any:
    """Return a float32 `LlamaForCausalLM` with 8 heads and the usual MLP width; equal seeds give equal weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=32 * round(hidden * 8 / 3 / 32 + 0.34),  # 512: 1376, 768: 2048
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=None,
    )
    return LlamaForCausalLM(config)
