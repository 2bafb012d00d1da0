"""Diagnose the adapters of finished runs: spectra of weights, shares of gradients, and the error of merging.

One small batch per run goes through the run's lane, once as trained and once as merged.
"""

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
ROWS, TOKENS = 4, 512  # the limits of a lane's batch, which has at least one row
LAYERS = 4  # the layers with dense measures; at most a quarter of all layers, because runs of small models are short
SCATTERED = "ZeRO stage 3 scatters the base weights over the ranks, and no diagnosis gathers them: use stage 2 or less."
Diagnosis = dict[str, float | str]
"""The measures of one adapter by name; ``skipped`` says in words which measures are missing, and why."""


class Diagnoses:
    """Diagnoses the lanes of one model. The spectra of the base weights are computed once, for the first lanes."""

    def __init__(self, engine: Engine, tokens: int | Literal["auto"] = "auto", bounds: Bounds | None = None) -> None:
        """Diagnose on this rank alone; a pass through the model holds about ``tokens`` tokens, as in training.

        ``bounds`` limits the dense measures; by default to `LAYERS` layers.
        """
        self.engine = engine
        self.bounds = bounds or Bounds(layers=min(LAYERS, max(1, len(adapted_layers(engine.model)) // 4)))
        self.most = pass_tokens(tokens, engine.device.type, hidden_size(engine.model))

    def of(self, items: Mapping[int, Sequence[Item]]) -> dict[int, Diagnosis]:
        """Return the diagnosis (the measures of the adapter) of each lane; ``items[lane]`` are its training items.

        The first rows of a task are used, so all seeds and methods of the task are diagnosed on the same rows.
        ``seconds`` is the time per lane; the lanes of a pass share its time equally. If a computation fails (a
        decomposition, memory), its measures are left out, and the run does not fail.
        """
        if self.engine.scatters:  # gathering the weights would need the other ranks, which do not take part here
            return {lane: {"skipped": SCATTERED} for lane in items}
        rows = {lane: first_rows(of_lane) for lane, of_lane in items.items()}
        tokens = {lane: len(batch) * max(len(ids) for ids, _ in batch) for lane, batch in rows.items()}
        diagnoses: dict[int, Diagnosis] = {}
        for lanes in split_into_passes(tokens, self.most):
            began = time.monotonic()
            of_pass = self._of_pass_or_why_not({lane: rows[lane] for lane in lanes})
            seconds = round((time.monotonic() - began) / len(lanes), 4)
            diagnoses |= {lane: diagnosis | {"seconds": seconds} for lane, diagnosis in of_pass.items()}
        return diagnoses

    def _of_pass_or_why_not(self, rows: Mapping[int, Sequence[AnswerRow]]) -> dict[int, Diagnosis]:
        """Diagnose the lanes in one pass, or each alone if the pass fails; ``skipped`` says why a lane failed alone."""
        try:
            return self._of_pass(rows)
        except RuntimeError as error:  # from torch: memory is full, or a decomposition does not converge
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        let_go(self.engine.device)  # outside of `except`: within, the error's traceback holds the tensors of the pass
        if len(rows) > 1:
            return {lane: self._of_pass_or_why_not({lane: rows[lane]})[lane] for lane in rows}
        _log.warning("No diagnostics for lanes %s: %s", list(rows), reason)
        return {lane: {"skipped": reason} for lane in rows}

    @cached_property
    def _base_spectra(self) -> dict[str, BaseVectors]:
        return base_spectra(self.engine.model, self.bounds)

    def _of_pass(self, rows: Mapping[int, Sequence[AnswerRow]]) -> dict[int, Diagnosis]:
        model = self.engine.model
        batch = batch_rows([row for lane in sorted(rows) for row in rows[lane]])
        lanes = len(next(iter(adapted_layers(model).values())).lanes)
        counts = [len(rows.get(lane, ())) for lane in range(lanes)]
        lengths = [batch.ids_BT.shape[1]] * lanes
        with evaluating(model), held_factors(model), lane_rows(model, counts, lengths=lengths):
            with torch.enable_grad(), record_activations(model, chosen_layers(model, self.bounds)) as activations:
                logits_AV = self.engine.logits(batch)
                loss = cross_entropy(logits_AV, batch.wanted_A.to(logits_AV.device), reduction="sum")
            gradients = effective_gradients(loss, activations) if activations else ()
            shares = {lane: lane_shares(model, lane, of_lane) for lane, of_lane in gradients}
            numbers = diagnose_lanes(model, sorted(rows), bounds=self.bounds, bases=self._base_spectra)
            with as_merged(model):
                merged_AV = self.engine.logits(batch)
        gaps = _largest_by_lane(logits_AV.detach() - merged_AV, batch, counts)
        return {lane: _finite(numbers[lane] | shares.get(lane, {}) | {"merge_gap": gaps[lane]}) for lane in rows}


def first_rows(items: Sequence[Item]) -> list[AnswerRow]:
    """Return rows of the first items with their right answers: as many as `ROWS` and `TOKENS` allow, at least one."""
    rows: list[AnswerRow] = []
    for item in items[:ROWS]:
        ids, start = item.trained()
        if rows and (len(rows) + 1) * max(len(ids), *(len(earlier) for earlier, _ in rows)) > TOKENS:
            break
        rows.append((ids, start))
    return rows


def _largest_by_lane(difference_AV: Tensor, batch: TokenBatch, counts: Sequence[int]) -> dict[int, float]:
    """Return by lane the largest magnitude of ``difference_AV`` over its answer tokens, for lanes that have rows."""
    lane_B = torch.tensor([lane for lane, count in enumerate(counts) for _ in range(count)])
    lane_A, largest_A = lane_B[batch.owner_A], difference_AV.abs().amax(1).cpu()
    return {lane: float(largest_A[lane_A == lane].max()) for lane, count in enumerate(counts) if count}


def _finite(numbers: Mapping[str, float]) -> Diagnosis:
    """Return the finite measures, which JSON and MLflow can hold; ``skipped`` names measures that are not finite."""
    kept: Diagnosis = {name: value for name, value in numbers.items() if math.isfinite(value)}
    dropped = sorted(numbers.keys() - kept.keys())
    return kept | ({"skipped": f"not finite: {', '.join(dropped)}"} if dropped else {})
