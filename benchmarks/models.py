"""The model of every bench: a Llama with random weights, on one thread."""

from typing import Any

import torch

from orchestrator.recipe.targets import targets_of

TARGETS = targets_of("attention")
ATTENTION, ALL = ([name.removeprefix("*.") for name in targets_of(one)] for one in ("attention", "attention+mlp"))
RANK = 8
LAYERS = 16
"""Of a base: with fewer, the first and the last layer, the embedding and the head would count for more than they do."""


def one_thread() -> None:
    """Compute on one thread: CPU seconds of two threads depend on what else runs."""
    torch.set_num_threads(1)


def llama(hidden: int, vocab: int, layers: int = LAYERS, seed: int = 0) -> Any:
    """Return a float32 `LlamaForCausalLM` with 8 heads and the usual width of its MLP, the same for a seed."""
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
