"""Ways to compute less that a model may take: each is tried on the model itself, and left where answers differ."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from orchestrator import attention
from orchestrator.answers import AnswerModel, distance, tolerance
from orchestrator.last_layer import is_narrow, make_narrow, noise_but_at, token_wise
from orchestrator.packed import Packed, Row, pack_rows

_log = logging.getLogger(__name__)
CPU = torch.device("cpu")
ROWS: tuple[Row, ...] = (((0, 1, 2, 3, 4), 3), ((4, 3, 5, 0, 2), 1), ((2, 5, 1), 1), ((5, 0, 4), 2))
ROUNDING = 8 * torch.finfo(torch.float32).eps


def allow_shortcuts(model: nn.Module, device: torch.device = CPU) -> None:
    """Let ``model`` take those that it computes the same with, where it will train; ask before it is adapted."""
    allow_blocks(model, device)
    allow_narrow(model, device)


def allow_blocks(model: nn.Module, device: torch.device = CPU) -> bool:
    """Let passes hold blocks of rows without padding between them, if ``model`` computes the same so; return whether.

    It does not where a token depends on earlier ones other than by plain attention: by windows, or recurrent layers.
    ``device`` is where it will train: on others than CPUs nobody has measured what blocks cost, and there are none.
    """
    config: Any = model.config
    text = config.get_text_config()
    other_kinds = set(getattr(text, "layer_types", None) or ()) - {"full_attention"}
    whole = not other_kinds and not getattr(text, "sliding_window", None)
    plain = config._attn_implementation == attention.PLAIN and attention.can_be_chosen(model)
    if device.type == "cpu" and plain and whole:
        flat = pack_rows(ROWS, [len(ids) for ids, _ in ROWS])
        reason = _why_it_differs(model, lambda: attention.use(model, attention.IN_BLOCKS), flat)
        if reason is not None:
            _log.info("%s pads the rows of a pass to one length: %s", type(model).__name__, reason)
            attention.use(model, attention.PLAIN)
    return takes_blocks(model)


def takes_blocks(model: nn.Module) -> bool:
    """Return whether `allow_blocks` has allowed them."""
    return bool(getattr(getattr(model, "config", None), "_attn_implementation", "") == attention.IN_BLOCKS)


def allow_narrow(model: nn.Module, device: torch.device = CPU) -> bool:
    """Let the last layer compute only where answers are, if ``model`` computes the same so; return whether.

    Only on CPUs, as blocks.
    """
    if device.type != "cpu" or not token_wise(model):
        make_narrow(model, False)
        return False
    if is_narrow(model):
        return True
    reason = _why_tokens_mix(model) or _why_it_differs(model, lambda: make_narrow(model, True), pack_rows(ROWS))
    if reason is not None:
        _log.info("%s computes its last layer for every token: %s", type(model).__name__, reason)
        make_narrow(model, False)
    return reason is None


def _why_tokens_mix(model: nn.Module) -> str | None:
    """Return why noise at places that nobody should read reaches an answer, if it does, by more than rounding.

    Whatever the weights' type, the limit is float32's: rows of one product do not round each other at all, but experts
    that get other rows may.
    """
    packed = pack_rows(ROWS)

    def told() -> str | None:
        before_AV = _logits(model, packed)
        with noise_but_at(model, packed.where_A):
            far = distance(_logits(model, packed), before_AV)
        return None if far <= ROUNDING else f"noise at tokens that are not read changes its logits by {far:.2g}"

    return _reason(told)


def _why_it_differs(model: nn.Module, change: Callable[[], None], changed: Packed) -> str | None:
    """Return why ``model`` must not be changed so: the rows, laid out as ``changed``, give other logits, or none."""

    def told() -> str | None:
        before_AV = _logits(model, pack_rows(ROWS))
        change()
        far = distance(_logits(model, changed), before_AV)
        return None if far <= tolerance(next(model.parameters()).dtype) else f"its logits would differ by {far:.2g}"

    return _reason(told)


def _reason(told: Callable[[], str | None]) -> str | None:
    try:
        return told()
    except Exception as error:  # whatever code that knows nothing of it makes of it: it trains as it is
        return f"{type(error).__name__}: {error}"


def _logits(model: nn.Module, packed: Packed) -> Tensor:
    with torch.no_grad():
        logits_AV: Tensor = AnswerModel(model)(*packed.inputs(next(model.parameters()).device))
    return logits_AV
