"""Pure: the memory of one worker while it trains a pack, part by part (ADR 37, docs/plan.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.recipe.spec import SweepSpec
from orchestrator.train.passes import pass_tokens, split_into_passes

PROCESS_BYTES = 460_000_000  # of a worker after its imports
BUCKET_BYTES = 4 * 5_000_000  # DeepSpeed's buffer of gradients: train/engine/zero.py sets its length
LIVE_NUMBERS = 1_000_000_000  # of the base, which ZeRO-3 keeps whole while layers run (stage3_max_live_parameters)
SCORED_TOKENS = 8192  # of a scoring batch: train/score.py
NUMBER = 4  # bytes of a float32; all that is trained is float32


@dataclass(frozen=True)
class Bytes:
    """The bytes of one worker of the pack that needs the most, by what holds them.

    ``base`` are the frozen weights, ``adapters`` the trained numbers, ``gradients`` and ``optimizer`` what belongs to
    these. ``buffers`` are the factors that a step holds, copies for checkpoints, and DeepSpeed's. ``activations`` are
    kept by the largest pass for its backward, ``logits`` are that pass's. ``scoring`` is what a scoring batch takes
    instead of these two. ``process`` is the memory after the imports, on the host.

    ``total`` is the sum with the larger of training and scoring, for rows of usual length; ``total_at_most`` is for
    rows that all have ``max_length`` tokens.
    """

    base: int
    adapters: int
    gradients: int
    optimizer: int
    buffers: int
    activations: int
    logits: int
    scoring: int
    process: int
    total: int
    total_at_most: int

    @property
    def on_device(self) -> int:
        """The bytes without the process, for rows of ``max_length``: those that a GPU holds."""
        return self.total_at_most - self.process


@dataclass(frozen=True)
class LaneLoad:
    """What one lane of a pack holds and computes.

    ``trained`` numbers; rows of ``length`` tokens of which ``answer`` are learned; ``choices`` per question, of which
    there are ``scored``. ``full`` rows have the recipe's ``max_length``.
    """

    trained: int
    length: int
    full: int
    answer: int
    choices: int
    scored: int

    def tokens(self, *, full: bool) -> int:
        """Return the tokens of one row that is trained."""
        return self.full if full else self.length


class MemoryModel:
    """The memory of a worker by the sizes of a base and the settings of a sweep."""

    def __init__(self, sweep: SweepSpec, shape: ModelShape) -> None:
        self.sweep, self.shape, self.on_gpu = sweep, shape, bool(sweep.cluster.gpus_per_worker)
        self.workers = sweep.cluster.workers
        self.stage = sweep.engine.stage if sweep.trained_by.kind == "zero" else None
        self.item = 2 if sweep.dtype == "bfloat16" else NUMBER

    def of(self, lanes: Sequence[LaneLoad]) -> Bytes:
        """Return the bytes of a worker that trains a pack of these lanes."""
        trained = sum(lane.trained for lane in lanes)
        base, gathered = self._base()
        adapters, gradients, optimizer = self._state(trained)
        buffers = gathered + self._buffers(trained)
        activations, logits = self._training(lanes, full=False)
        scoring = self._scoring(lanes, full=False)
        fixed = base + adapters + gradients + optimizer + buffers + PROCESS_BYTES
        most = max(sum(self._training(lanes, full=True)), self._scoring(lanes, full=True), scoring)
        return Bytes(
            base=base,
            adapters=adapters,
            gradients=gradients,
            optimizer=optimizer,
            buffers=buffers,
            activations=activations,
            logits=logits,
            scoring=scoring,
            process=PROCESS_BYTES,
            total=fixed + max(activations + logits, scoring),
            total_at_most=fixed + most,
        )

    def _base(self) -> tuple[int, int]:
        """Return the bytes of the frozen weights, and of those that ZeRO-3 gathers for the time that layers run.

        On a CPU a worker loads the whole base before ZeRO-3 scatters it, and the process keeps that memory.
        """
        whole = self.shape.parameters() * self.item
        if self.stage != 3:
            return whole, 0
        part = whole // self.workers
        gathered = min(self.shape.parameters(), LIVE_NUMBERS) * self.item
        return part, gathered if self.workers > 1 else 0

    def _state(self, trained: int) -> tuple[int, int, int]:
        """Return the bytes of adapters, gradients and moments; ZeRO shares by stage, from 1 on, what is shared.

        ZeRO keeps a second copy of the numbers that a worker steps. Backward gives it a whole gradient beside the one
        that adds up passes, and from stage 1 on a worker keeps its part of the average.
        """
        whole = NUMBER * trained
        if self.stage is None:
            return whole, whole, 2 * whole
        if self.stage == 0:
            return whole, 2 * whole, 2 * whole
        part = whole // self.workers
        return whole + part, 2 * whole + part, 2 * part

    def _buffers(self, trained: int) -> int:
        """Return the bytes of held factors, of copies for checkpoints, and of DeepSpeed's buffer of gradients.

        A step holds, per trained number, its factor and the factor's gradient. A checkpoint copies numbers and moments,
        on the host.
        """
        held = 2 * NUMBER * trained
        copied = 0 if self.on_gpu or not self.sweep.engine.checkpoint_seconds else 3 * NUMBER * trained
        bucket = 0
        if self.stage in (1, 2, 3):
            bucket = BUCKET_BYTES if self.on_gpu else min(BUCKET_BYTES, NUMBER * trained)
        return max(held, copied) + bucket

    def _training(self, lanes: Sequence[LaneLoad], *, full: bool) -> tuple[int, int]:
        """Return the bytes that the largest pass keeps for its backward: activations, and logits.

        On a CPU a pass has as many lanes as its cache suits; on a GPU all lanes, as long as memory has room.
        """
        micro = self.sweep.optim.micro_batch
        tokens = {number: micro * lane.tokens(full=full) for number, lane in enumerate(lanes)}
        kept, logits = 0, 0
        for group in self._passes(tokens):
            answers = micro * sum(lanes[number].answer for number in group)
            kept = max(kept, self._kept(sum(tokens[number] for number in group)))
            logits = max(logits, 2 * NUMBER * self.shape.vocab * answers)
        return kept, logits

    def _passes(self, tokens: dict[int, int]) -> list[list[int]]:
        wanted = self.sweep.engine.pass_tokens
        if wanted == "auto" and self.on_gpu:
            return [list(tokens)]
        return split_into_passes(tokens, max(2, pass_tokens(wanted, "cpu", self.shape.hidden)))

    def _kept(self, tokens: int) -> int:
        """Return roughly the bytes that a pass of so many tokens keeps.

        These are the inputs of norms, matrices and attention. On a base in half precision a block also keeps some
        float32 and the base products of its adapted layers, four hidden sizes in all, and the block that the backward
        pass is in works on eight more (measured on a GPU, docs/results.md).
        """
        shape, half = self.shape, self.item == 2
        block, working = (10 + 4 * half) * shape.hidden + 3 * shape.intermediate, 8 * half * shape.hidden
        checkpointing = self.sweep.engine.gradient_checkpointing
        kept = (shape.layers * shape.hidden + block if checkpointing else shape.layers * block) + working
        return tokens * kept * self.item

    def _scoring(self, lanes: Sequence[LaneLoad], *, full: bool) -> int:
        """Return the bytes of a scoring batch: one block at work, and float32 logits with one temporary of their size.

        The choices of a question share its prompt in one row.
        """
        rows = [
            (min(lane.full, lane.tokens(full=full)) + (lane.choices - 1) * lane.answer, lane.choices * lane.answer)
            for lane in lanes
        ]
        longest = max(length for length, _ in rows)
        items = max(1, SCORED_TOKENS // (longest * len(rows)))
        tokens = sum(min(items, lane.scored) * longest for lane in lanes)
        answers = sum(min(items, lane.scored) * asked for lane, (_, asked) in zip(lanes, rows, strict=True))
        working = (6 * self.shape.hidden + 3 * self.shape.intermediate) * self.item
        return tokens * working + 2 * NUMBER * self.shape.vocab * answers
