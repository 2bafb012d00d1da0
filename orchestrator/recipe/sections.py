"""The sections of a recipe, one frozen and checked class per section; `recipe.search` has the section ``search``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from d2lora import get_method
from d2lora.method import LowRankConfig
from orchestrator.addresses import fault_of
from orchestrator.recipe.deepspeed import DeepSpeedSpec
from orchestrator.recipe.frozen import Frozen
from orchestrator.recipe.targets import joined, targets_of

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"  # names become folders: other signs could lead out of the storage root
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
HALVES = ("float16", "fp16", "half", "f16")


class ModelSpec(Frozen):
    """The frozen base: ``name`` is "tiny" or a hub id; ``path`` a local directory that is used instead.

    ``revision`` is a branch, tag or commit of the hub id.
    """

    name: str = "tiny"
    revision: str | None = None
    path: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    targets: str = "attention"

    @field_validator("dtype", mode="before")
    @classmethod
    def _no_half(cls, dtype: Any) -> Any:
        """Refuse float16 and name the types to take instead, because bases stored in float16 are common."""
        if isinstance(dtype, str) and dtype.removeprefix("torch.") in HALVES:
            raise ValueError(
                f"{dtype} ends at 65,504, beyond which training breaks; a base that is stored in it is trained in "
                "bfloat16 (dtype: bfloat16, as large), or in float32 (dtype: float32, twice as large, exact)."
            )
        return dtype

    @field_validator("targets", mode="before")
    @classmethod
    def _joined(cls, targets: Any) -> Any:
        """Take a list of patterns as well as the name of a set."""
        return joined(targets)

    @model_validator(mode="after")
    def _revision_is_of_the_hub(self) -> Self:
        if self.revision is not None and (self.path is not None or self.name == "tiny"):
            what = f"path={self.path}" if self.path is not None else "the tiny base"
            raise ValueError(f"revision={self.revision} is of a hub id, and this is {what}: leave revision out.")
        return self

    @property
    def source(self) -> str:
        """Where the base is loaded from: the path if there is one, else the name."""
        return self.path or self.name


class TaskSpec(Frozen):
    """A benchmark by name, or your own multiple-choice JSONL by ``path`` and the names of its columns.

    ``choices`` is one column of lists, or the columns of single choices; answers that are numbers count from
    ``answer_base`` (0 by default; if it is given, digits written as text are numbers too).
    """

    name: Annotated[str, Field(pattern=NAME)]
    path: str | None = None
    test: str | None = None
    train: str | None = None
    question: str = "question"
    choices: str | list[str] = "choices"
    answer: str = "answer"
    answer_base: Literal[0, 1] | None = None

    @field_validator("choices", mode="before")
    @classmethod
    def _columns(cls, choices: Any) -> Any:
        """Refuse anything but a column or a list of columns, with one message for both forms."""
        texts = isinstance(choices, list) and all(isinstance(column, str) for column in choices)
        several = texts and len(choices) > 1 and len(set(choices)) == len(choices)
        if not several and not isinstance(choices, str):
            raise ValueError(f"{choices!r} is neither a column nor a list of different columns: [option_a, option_b].")
        return choices


class MethodSpec(Frozen):
    """A method with every setting resolved; ``label`` names it within its sweep.

    ``control`` is None, or for a method that ``controls: matched`` has added, says what the control holds equal and
    what it takes away.

    >>> MethodSpec(name="lora", settings={"rank": 4}, label="lora", targets="mlp").config.scale
    4.0
    """

    name: str
    settings: dict[str, Any]
    label: str
    targets: str
    control: str | None = None

    @classmethod
    def of(cls, name: str, config: LowRankConfig, *, label: str, targets: str, control: str | None = None) -> Self:
        """Return the method whose settings are all fields of ``config``, those with their default value included."""
        method = cls(name=name, settings=asdict(config), label=label, targets=targets, control=control)
        method.__dict__["config"] = config  # where cached_property would keep it
        return method

    @cached_property
    def config(self) -> LowRankConfig:
        """The settings as the library's ``Config``; ValueError where the library refuses them. Needs no torch."""
        return get_method(self.name).Config(**self.settings)

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        """The name patterns of the layers that the method adapts."""
        return tuple(targets_of(self.targets))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed; it builds ``config`` and ``patterns`` from its own fields again."""
        copied = super().model_copy(update=update, deep=deep)
        for built in ("config", "patterns"):
            copied.__dict__.pop(built, None)
        return copied

    def decides(self) -> str:
        """Return all that decides what is trained, in one spelling; the label does not decide anything."""
        return json.dumps([self.name, self.settings, self.patterns], sort_keys=True)


class DataSpec(Frozen):
    """How many rows of a task are used, how long they may be, and where they come from.

    ``split_seed`` alone decides which rows are used, so all runs of a task share their rows. ``chat_template`` asks in
    a user turn of the base's own template. ``append_eos`` also trains the token that ends an answer; that token is
    never scored (docs/prompts.md).
    """

    train_samples: Positive | None = 5000
    validation_samples: Positive | None = None
    eval_samples: Positive | None = None
    max_length: Annotated[int, Field(ge=8)] = 512
    mirror: str | None = None
    bad_rows: Literal["error", "skip"] = "error"
    split_seed: int = 0
    chat_template: bool = False
    append_eos: bool = False


class OptimSpec(Frozen):
    """The settings of AdamW, warm-up, decay, clipping (per lane) and accumulation.

    In a recipe ``lr`` may be a list of rates; in the spec of a run it is one rate.
    """

    lr: Rate | Annotated[list[Rate], Field(min_length=1)] = 2.0e-4
    epochs: Annotated[float, Field(gt=0)] = 2.0
    micro_batch: Positive = 8
    global_batch: Positive = 32
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = [0.9, 0.999]  # noqa: RUF012 - pydantic copies it
    eps: Annotated[float, Field(gt=0)] = 1e-8

    @property
    def rates(self) -> list[float]:
        """The learning rates of the grid."""
        return list(self.lr) if isinstance(self.lr, list) else [self.lr]

    def micro_steps(self, workers: int) -> int:
        """Return how many micro batches each of ``workers`` workers contributes to a global batch."""
        return self.global_batch // (self.micro_batch * workers)

    @field_validator("lr")
    @classmethod
    def _each_rate_once(cls, lr: float | list[float]) -> float | list[float]:
        if isinstance(lr, list) and len(set(lr)) < len(lr):
            raise ValueError(f"lr={lr} repeats a rate: each rate is one run.")
        return lr


class EngineSpec(Frozen):
    """The engine that trains: DeepSpeed ZeRO at a stage, or plain PyTorch in one process.

    ``pass_tokens`` is how many tokens a pass may have, which bounds the memory of a step. ``diagnostics`` says whether
    the weights of a run are examined as it ends (docs/diagnostics.md). ``deterministic`` lets a GPU use only kernels
    that give the same bits each time, which are slower. ``checkpoint_seconds`` is the time between two checkpoints of a
    run; 0 writes no checkpoints. ``deepspeed`` are keys of DeepSpeed's own configuration; a recipe gives them, or the
    path of a JSON file with them.
    """

    kind: Literal["auto", "zero", "plain"] = "auto"
    stage: Annotated[int, Field(ge=0, le=3)] = 2
    gradient_checkpointing: bool = False
    pass_tokens: Positive | Literal["auto"] = "auto"  # noqa: S105 - no password: tokens of text
    diagnostics: bool = True
    deterministic: bool = False
    checkpoint_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    deepspeed: DeepSpeedSpec | None = None

    @model_validator(mode="after")
    def _deepspeed_can_do_it(self) -> Self:
        if self.deepspeed is not None:
            if self.kind == "plain":
                raise ValueError("kind=plain trains without DeepSpeed: leave deepspeed out, or take kind=zero.")
            if fault := self.deepspeed.fault(self.stage):
                raise ValueError(f"deepspeed: {fault}")
        return self

    def resolved(self, workers: int) -> EngineSpec:
        """Return the engine with its kind decided.

        "auto" is plain for one worker, unless a stage of ZeRO or a key of DeepSpeed is named.
        """
        if self.kind != "auto":
            return self
        named = self.deepspeed is not None or self.stage != type(self).model_fields["stage"].default
        return self.model_copy(update={"kind": "zero" if workers > 1 or named else "plain"})


class TrackingSpec(Frozen):
    """The MLflow that shows the sweep: the address of a database or a server, or "none"."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str | None = None

    @field_validator("uri")
    @classmethod
    def _of_a_form_that_is_known(cls, uri: str) -> str:
        if fault := fault_of(uri):
            raise ValueError(fault)
        return uri
