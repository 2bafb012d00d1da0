"""Pure: the memory of one worker while it trains a pack, part by part (ADR 37, docs/plan.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.estimate.model_shapes import ModelShape
from orchestrator.recipe.sections import MethodSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.train.passes import pass_tokens, split_into_passes

PROCESS_BYTES = 460_000_000  # of a worker after its imports
KERNEL_BYTES = 50_000_000  # on a CPU: pages of libraries' code, and kernels that are compiled, of a first step
HELD_BYTES = 18  # on a CPU, per trained number: factors and what they are built from, with their gradients, for a step
GAPS = 1.35  # on a CPU: memory of passes and batches with the gaps that the C library leaves, over its sum
LARGER = 2  # times as large as tensors before, tensors do not all fit into the gaps that those have left,
BESIDE = 0.6  # and so much of the smaller of both then stands beside the larger
BUCKET_BYTES = 4 * 5_000_000  # DeepSpeed's buffer of gradients: train/engine/zero.py sets its length
LIVE_NUMBERS = 1_000_000_000  # of the base, which ZeRO-3 keeps whole while layers run (stage3_max_live_parameters)
SCORED_TOKENS = 8192  # of a scoring batch: train/score.py
NUMBER = 4  # bytes of a float32; all that is trained is float32


@dataclass(frozen=True)
class Bytes:
    """The bytes of one worker of the pack that needs the most, by what holds them.

    ``base`` are the frozen weights, ``adapters`` the trained numbers, ``gradients`` and ``optimizer`` what belongs to
    these. ``buffers`` are the factors that a step holds, copies for checkpoints, and DeepSpeed's. ``activations`` are
    kept by the largest pass for its backward, ``logits`` are that pass's. ``scoring`` is what a scoring batch takes.
    ``kernels`` is what a first step loads and compiles, ``process`` the memory after the imports, on the host.

    ``total`` is for rows of usual length, ``total_at_most`` for rows that all have ``max_length`` tokens. Training and
    scoring are in memory one after the other, so the total has the larger; on a CPU also a part of the smaller, where
    scoring's tensors are too large for the gaps that training leaves.
    """

    base: int
    adapters: int
    gradients: int
    optimizer: int
    buffers: int
    activations: int
    logits: int
    scoring: int
    kernels: int
    process: int
    total: int
    total_at_most: int

    @property
    def on_device(self) -> int:
        """The bytes without the process, for rows of ``max_length``: those that a GPU holds."""
        return self.total_at_most - self.process


@dataclass(frozen=True)
class Passing:
    """The bytes of the largest pass and of the largest scoring batch, and what both take ``together``."""

    activations: int
    logits: int
    scoring: int
    together: int


@dataclass(frozen=True)
class LaneLoad:
    """What one lane of a pack holds and computes.

    ``trained`` numbers; ``kept`` numbers per token that all layers keep for backward (`kept_numbers`); rows of
    ``length`` tokens of which ``answer`` are learned; ``choices`` per question, of which there are ``scored``. ``full``
    rows have the recipe's ``max_length``.
    """

    trained: int
    kept: int
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
        usual, full = self._passes_of(lanes, full=False), self._passes_of(lanes, full=True)
        kernels = 0 if self.on_gpu else KERNEL_BYTES
        fixed = base + adapters + gradients + optimizer + buffers + kernels + PROCESS_BYTES
        return Bytes(
            base=base,
            adapters=adapters,
            gradients=gradients,
            optimizer=optimizer,
            buffers=buffers,
            activations=usual.activations,
            logits=usual.logits,
            scoring=usual.scoring,
            kernels=kernels,
            process=PROCESS_BYTES,
            total=fixed + usual.together,
            total_at_most=fixed + max(usual.together, full.together),
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

        On a GPU the held factors are in the measured numbers of `_kept`. A checkpoint copies numbers and moments, on
        the host, after the factors are gone.
        """
        held = 0 if self.on_gpu else HELD_BYTES * trained
        bucket = 0
        if self.stage in (1, 2, 3):
            bucket = BUCKET_BYTES if self.on_gpu else min(BUCKET_BYTES, NUMBER * trained)
        return held + bucket

    def _passes_of(self, lanes: Sequence[LaneLoad], *, full: bool) -> Passing:
        """Return what the largest pass and the largest scoring batch take.

        On a CPU the head's product packs its weight into memory of its own, and the untrained base is scored, in one
        lane, before the first step.
        """
        micro, head = self.sweep.optim.micro_batch, self.shape.head * self.item
        tokens = {number: micro * lane.tokens(full=full) for number, lane in enumerate(lanes)}
        activations = logits = largest = 0
        for group in self._groups(tokens):
            answers = micro * sum(lanes[number].answer for number in group)
            kept = sum(self._kept(tokens[number], lanes[number]) for number in group)
            activations = max(activations, kept)
            logits = max(logits, 2 * NUMBER * self.shape.vocab * answers)
            largest = max(largest, sum(tokens[number] for number in group))
        scoring, scored = self._scoring(lanes, full=full)
        if self.on_gpu:
            return Passing(activations, logits, scoring, max(activations + logits, scoring))
        _, first = self._scoring(lanes[:1], full=full)
        activations, logits, scoring = (round(GAPS * part) for part in (activations + head, logits, scoring))
        less, more = sorted((activations + logits, scoring))
        apart = scored > LARGER * max(largest, first)
        return Passing(activations, logits, scoring, more + round(BESIDE * less) * apart)

    def _groups(self, tokens: dict[int, int]) -> list[list[int]]:
        """Return the lanes of each pass: as many as suit a CPU's cache; on a GPU all, as long as memory has room."""
        wanted = self.sweep.engine.pass_tokens
        if wanted == "auto" and self.on_gpu:
            return [list(tokens)]
        return split_into_passes(tokens, max(2, pass_tokens(wanted, "cpu", self.shape.hidden)))

    def _kept(self, tokens: int, lane: LaneLoad) -> int:
        """Return the bytes that so many tokens of a lane take in a pass: what is kept, and one block at work.

        On a base in half precision a block also keeps some float32, four hidden sizes in all, and the block that the
        backward pass is in works on eight (measured on a GPU, docs/results.md).
        """
        shape, half = self.shape, self.item == 2
        kept = lane.kept + 4 * half * shape.layers * shape.hidden
        working = 8 * shape.hidden if half else 4 * (shape.hidden + shape.intermediate)
        if self.sweep.engine.gradient_checkpointing:
            blocks = 1 if self.on_gpu else 2  # measured: a CPU's memory of the block before is not free again in time
            kept = min(kept, shape.layers * shape.hidden + blocks * kept // shape.layers)
        return tokens * (kept + working) * self.item

    def _scoring(self, lanes: Sequence[LaneLoad], *, full: bool) -> tuple[int, int]:
        """Return the bytes of a scoring batch, and its tokens.

        These are one block at work, and float32 logits with one temporary of their size. The choices of a question
        share its prompt in one row.
        """
        rows = [
            (lane.tokens(full=full) + (lane.choices - 1) * lane.answer, lane.choices * lane.answer) for lane in lanes
        ]
        longest = max(length for length, _ in rows)
        items = max(1, SCORED_TOKENS // (longest * len(rows)))
        tokens = sum(min(items, lane.scored) * longest for lane in lanes)
        answers = sum(min(items, lane.scored) * asked for lane, (_, asked) in zip(lanes, rows, strict=True))
        working = (6 * self.shape.hidden + 3 * self.shape.intermediate) * self.item
        return tokens * working + 2 * NUMBER * self.shape.vocab * answers, tokens


def kept_numbers(shape: ModelShape, method: MethodSpec) -> int:
    """Return how many numbers per token all layers of a base keep for backward, with a method on its targets.

    Without adapters a block keeps its two inputs, queries, keys, values and what attention gives, and three times the
    MLP's width. An adapted layer keeps its input and the thin product; its output too if a scale acts on the output and
    nothing else keeps it. (Counted by `torch.autograd.graph.saved_tensors_hooks`, docs/plan.md.)
    """
    query, value = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    kept = shape.layers * (2 * shape.hidden + 2 * query + 2 * value + 3 * shape.intermediate)
    adapted = shape.targets(method.patterns)
    outputs = {"q_proj", "k_proj", "o_proj", "down_proj"} if scales_outputs(method) else set()
    inputs: set[tuple[str, str]] = set()  # layers that read the same input share it
    for name, (out, _) in adapted.items():
        block, _, last = name.rpartition(".")
        kept += 2 * method.config.rank + (out if last in outputs else 0)
        inputs.add((block, INPUTS.get(last, "")))
    width = {"attention": shape.hidden, "mlp": shape.hidden, "middle": shape.intermediate, "": 0}
    return kept + sum(width[source] for _, source in inputs)


INPUTS = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj"), "attention"),
    **dict.fromkeys(("gate_proj", "up_proj"), "mlp"),
    "down_proj": "middle",
}
"""What each layer of a block reads, if backward keeps it only for adapters; ``o_proj`` reads what attention keeps."""


def scales_outputs(method: MethodSpec) -> bool:
    """Return whether a method multiplies the output of its layers by a trained scale."""
    config = method.config
    return method.name != "lora" and (getattr(config, "norm_axis", "out"), getattr(config, "projection", "on")) == (
        "out",
        "on",
    )
