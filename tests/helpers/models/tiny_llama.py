"""A Llama small enough for a unit test, and questions for it."""

from __future__ import annotations

import random

import torch
from torch import nn

from orchestrator.data.tokens import Item

TARGETS = ["*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj"]


def tiny_llama(seed: int = 0, hidden: int = 16, layers: int = 2, vocab: int = 50) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
        )
    )


def questions(count: int, seed: int = 0, choices: int = 3, vocab: int = 50) -> list[Item]:
    draw = random.Random(seed)
    items = []
    for _ in range(count):
        prompt = [draw.randrange(vocab) for _ in range(draw.randint(3, 12))]
        ends = [[draw.randrange(vocab) for _ in range(draw.randint(1, 3))] for _ in range(choices)]
        items.append(
            Item(
                choices=tuple(tuple(prompt + end) for end in ends),
                starts=(len(prompt),) * choices,
                answer=draw.randrange(choices),
                lengths=tuple(3 * len(end) for end in ends),
            )
        )
    return items
