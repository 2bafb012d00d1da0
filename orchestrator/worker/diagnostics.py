"""The diagnostics of runs that have finished: one small batch of each, through its lane as trained and as merged."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from d2lora import held_factors, lane_rows
from d2lora.attachment import adapted_layers
from d2lora.diagnosis.diagnose import base_spectra, chosen_layers, diagnose_lanes
from d2lora.diagnosis.gradients import effective_gradients, lane_shares, record_activations
from d2lora.diagnosis.merge_gap import as_merged
from d2lora.diagnosis.spectra import BaseVectors, Bounds
from orchestrator.data.tokens import Item
from orchestrator.machine.memory import let_go
from orchestrator.model.evaluating import evaluating
from orchestrator.model.loading import hidden_size
from orchestrator.model.token_batch import AnswerRow, TokenBatch, batch_rows
from orchestrator.train.engine.engine import Engine
from orchestrator.train.passes import pass_tokens, split_into_passes

_log = logging.getLogger(__name__)
ROWS, TOKENS = 4, 512  # of a lane's batch at most, but one row at least
LAYERS = 4  # that get the dense measures, but no more than a quarter of them: small models have short runs
SCATTERED = "ZeRO stage 3 scatters the base weights over the ranks, and no diagnosis gathers them: use stage 2 or less."
Diagnosis = dict[str, float | str]
"""Numbers by name; ``skipped`` says in words what is not there, and why."""


class Diagnoses:
    """Diagnoses lanes of one model; what depends on the base alone is computed once, when the first lanes finish."""

    def __init__(self, engine: Engine, tokens: int | Literal["auto"] = "auto", bounds: Bounds | None = None) -> None:
        """Diagnose on this rank alone; a pass through the model holds about ``tokens`` tokens, as in training."""
        self.engine = engine
        self.bounds = bounds or Bounds(layers=min(LAYERS, max(1, len(adapted_layers(engine.model)) // 4)))
        self.most = pass_tokens(tokens, engine.device.type, hidden_size(engine.model))

    def of(self, items: Mapping[int, Sequence[Item]]) -> dict[int, Diagnosis]:
        """Return the diagnosis of each lane, whose training questions are ``items[lane]``; its first rows are used.

        The same rows for all seeds and methods of a task. ``seconds`` is what it took, the lane's share of what lanes
        have in common included. A computation that fails (a decomposition, memory) costs its numbers and not the run.
        """
        if self.engine.scatters:  # the other ranks are not here, even where this base is small enough to stay whole
            return {lane: {"skipped": SCATTERED} for lane in items}
        rows = {lane: first_rows(each) for lane, each in items.items()}
        tokens = {lane: len(each) * max(len(ids) for ids, _ in each) for lane, each in rows.items()}
        found: dict[int, Diagnosis] = {}
        for lanes in split_into_passes(tokens, self.most):
            began = time.monotonic()
            new = self._tried({lane: rows[lane] for lane in lanes})
            seconds = round((time.monotonic() - began) / len(lanes), 4)
            found |= {lane: one | {"seconds": seconds} for lane, one in new.items()}
        return found

    def _tried(self, rows: Mapping[int, Sequence[AnswerRow]]) -> dict[int, Diagnosis]:
        """Return the diagnoses of one pass, or, where that fails, of each of its lanes alone, or why there is none."""
        try:
            return self._of_pass(rows)
        except RuntimeError as error:  # torch's, for memory and for decompositions that do not converge
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        let_go(self.engine.device)  # out here: within, the error still holds what the pass had made
        if len(rows) > 1:
            return {lane: one for lane in rows for one in self._tried({lane: rows[lane]}).values()}
        _log.warning("No diagnostics for lanes %s: %s", list(rows), reason)
        return {lane: {"skipped": reason} for lane in rows}

    @cached_property
    def _bases(self) -> dict[str, BaseVectors]:
        return base_spectra(self.engine.model, self.bounds)

    def _of_pass(self, rows: Mapping[int, Sequence[AnswerRow]]) -> dict[int, Diagnosis]:
        model = self.engine.model
        packed = batch_rows([row for lane in sorted(rows) for row in rows[lane]])
        lanes = len(next(iter(adapted_layers(model).values())).lanes)
        counts = [len(rows.get(lane, ())) for lane in range(lanes)]
        lengths = [packed.ids_BT.shape[1]] * lanes
        with evaluating(model), held_factors(model), lane_rows(model, counts, lengths=lengths):
            with torch.enable_grad(), record_activations(model, chosen_layers(model, self.bounds)) as activations:
                logits_AV = self.engine.logits(packed)
                loss = cross_entropy(logits_AV, packed.wanted_A.to(logits_AV.device), reduction="sum")
            gradients = effective_gradients(loss, activations) if activations else ()
            shares = {lane: lane_shares(model, lane, of_lane) for lane, of_lane in gradients}
            numbers = diagnose_lanes(model, sorted(rows), bounds=self.bounds, bases=self._bases)
            with as_merged(model):
                merged_AV = self.engine.logits(packed)
        gaps = _largest_by_lane(logits_AV.detach() - merged_AV, packed, counts)
        return {lane: _finite(numbers[lane] | shares.get(lane, {}) | {"merge_gap": gaps[lane]}) for lane in rows}


def first_rows(items: Sequence[Item]) -> list[AnswerRow]:
    """Return the first questions with their right answers, as many as `ROWS` and `TOKENS` allow; one at least."""
    rows: list[AnswerRow] = []
    for item in items[:ROWS]:
        ids, start = item.trained()
        if rows and (len(rows) + 1) * max(len(ids), *(len(other) for other, _ in rows)) > TOKENS:
            break
        rows.append((ids, start))
    return rows


def _largest_by_lane(difference_AV: Tensor, packed: TokenBatch, counts: Sequence[int]) -> dict[int, float]:
    """Return the largest magnitude among the logits of each lane that has rows."""
    lane_B = torch.tensor([lane for lane, count in enumerate(counts) for _ in range(count)])
    lane_A, largest_A = lane_B[packed.owner_A], difference_AV.abs().amax(1).cpu()
    return {lane: float(largest_A[lane_A == lane].max()) for lane, count in enumerate(counts) if count}


def _finite(numbers: Mapping[str, float]) -> Diagnosis:
    """Return the numbers that JSON and MLflow can hold; what is not finite is named in ``skipped``."""
    kept: Diagnosis = {name: value for name, value in numbers.items() if math.isfinite(value)}
    lost = sorted(numbers.keys() - kept.keys())
    return kept | ({"skipped": f"not finite: {', '.join(lost)}"} if lost else {})
