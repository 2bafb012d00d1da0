"""Pre-train the tiny base: a plain loop over documents, one per row, the same on every run with the same settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from orchestrator.tiny.corpus import documents
from orchestrator.tiny.saved import Saved

if TYPE_CHECKING:
    from torch import Tensor, nn

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class TinySettings:
    """Size and training of the base. Each change makes another base in another folder; fewer ``steps`` a worse one."""

    hidden: int = 64
    intermediate: int = 256
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    steps: int = 500
    rows: int = 64
    lr: float = 1e-2
    warmup: int = 15
    weight_decay: float = 0.05
    init_std: float = 0.15
    seed: int = 0


def pretrain(
    tokenizer: Any, settings: TinySettings, progress: Progress | None = None, saved: Saved | None = None
) -> Any:
    """Return a `LlamaForCausalLM` that has read ``steps * rows`` documents.

    ``progress(step, steps, loss)`` is called after each step. ``saved`` is the state from which training goes on, and
    which is written now and then; the base is the same to the last bit. Training runs on one thread, because the number
    of threads changes the order of additions, and so the base.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _pretrain(tokenizer, settings, progress, saved)
    finally:
        torch.set_num_threads(threads)


def _pretrain(tokenizer: Any, settings: TinySettings, progress: Progress | None, saved: Saved | None) -> Any:
    import torch

    model = _fresh_model(tokenizer, settings)
    decay = settings.weight_decay
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.lr, betas=(0.9, 0.98), weight_decay=decay, fused=True)
    begin = saved.restore(model, optimizer) if saved else 0
    batches = _batches(tokenizer, settings, begin)
    for step in range(begin, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.lr * _schedule(step, settings)
        ids_NT, labels_NT = next(batches)
        loss = model(input_ids=ids_NT, labels=labels_NT, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if saved:
            saved.save(step + 1, model, optimizer)
        if progress is not None:
            progress(step + 1, settings.steps, float(loss.detach()))
    return model.eval()


def _fresh_model(tokenizer: Any, settings: TinySettings) -> nn.Module:
    """Return an untrained Llama with weights of the settings' seed; torch's global generator stays as it was."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=settings.init_std,
    )
    with torch.random.fork_rng(devices=[]):
        model = LlamaForCausalLM(config).float()
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, settings.init_std, generator=generator)
    return model.train()  # type: ignore[no-any-return]


def _batches(tokenizer: Any, settings: TinySettings, begin: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield ids (N, T) and labels (N, T) of each step from ``begin`` on.

    Rows are padded on the right, and padding has the label -100: no loss.
    """
    import torch

    source = islice(documents(settings.seed), begin * settings.rows, None)
    while True:
        texts = [next(source) for _ in range(settings.rows)]
        encoded = [[*ids, tokenizer.eos_token_id] for ids in tokenizer(texts)["input_ids"]]
        longest = max(map(len, encoded))
        ids_NT = torch.full((settings.rows, longest), tokenizer.pad_token_id)
        for row, ids in enumerate(encoded):
            ids_NT[row, : len(ids)] = torch.tensor(ids)
        yield ids_NT, ids_NT.masked_fill(ids_NT == tokenizer.pad_token_id, -100)


def _schedule(step: int, settings: TinySettings) -> float:
    """Return the learning rate's factor at a step: linear warm-up, then a cosine down to a twentieth."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / settings.steps))
    return min(1.0, (step + 1) / settings.warmup) * (0.05 + 0.95 * cosine)
