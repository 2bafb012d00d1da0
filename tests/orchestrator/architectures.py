"""Models of other architectures than Llama's, as small."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def model_of(name: str, **settings: Any) -> nn.Module:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}
    model: nn.Module = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **(sizes | settings)))
    return model.eval()
