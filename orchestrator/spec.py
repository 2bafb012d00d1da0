"""What a sweep and a run are: frozen, checked, and hashed by all that decides their result."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from d2lora.names import unknown
from orchestrator.addresses import fault_of
from orchestrator.errors import InputError
from orchestrator.seeds import SeedAxes, SeedPair, Seeds, distinct, drawn
from orchestrator.wording import listed

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"  # names become folders: anything else could leave the storage root
TARGET_SETS = {
    "attention": ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj"),
    "mlp": ("*.gate_proj", "*.up_proj", "*.down_proj"),
}
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]
FORMAT = 2
"""The format of results, part of every run's key: raised where the same run comes out otherwise than before (ADR 2)."""
HALVES = ("float16", "fp16", "half", "f16")
KEYS_OF_SEARCH = {
    "racing": ("alpha", "first", "resolve"),
    "tpe": ("trials", "batch", "seed"),
    "asha": ("rung", "factor"),
}


class Frozen(BaseModel):
    """Base of every spec: unknown keys are errors, values cannot be changed, numbers are numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


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
        """Refuse float16 with the types that take its place: bases stored in it are common."""
        if isinstance(dtype, str) and dtype.removeprefix("torch.") in HALVES:
            raise ValueError(
                f"{dtype} ends at 65,504, beyond which training breaks; a base that is stored in it is trained in "
                "bfloat16 (dtype: bfloat16, as large), or in float32 (dtype: float32, twice as large, exact)."
            )
        return dtype

    @field_validator("targets", mode="before")
    @classmethod
    def _joined(cls, targets: Any) -> Any:
        """Take a list of patterns as well as a set's name."""
        return joined(targets)

    @model_validator(mode="after")
    def _revision_is_of_the_hub(self) -> Self:
        if self.revision is not None and (self.path is not None or self.name == "tiny"):
            what = f"path={self.path}" if self.path is not None else "the tiny base"
            raise ValueError(f"revision={self.revision} is of a hub id, and this is {what}: leave revision out.")
        return self

    @property
    def source(self) -> str:
        """What is opened: the path if there is one, else the name."""
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
        """Refuse anything but a column or a list of columns, in one sentence for both."""
        texts = isinstance(choices, list) and all(isinstance(one, str) for one in choices)
        several = texts and len(choices) > 1 and len(set(choices)) == len(choices)
        if not several and not isinstance(choices, str):
            raise ValueError(f"{choices!r} is neither a column nor a list of different columns: [option_a, option_b].")
        return choices


class MethodSpec(Frozen):
    """A method with every setting resolved; ``label`` names it within its sweep.

    ``control`` says what a method that ``controls: matched`` has added holds equal and what it takes away.
    """

    name: str
    settings: dict[str, Any]
    label: str
    targets: str
    control: str | None = None

    def decides(self) -> str:
        """Return all that decides what is trained, in one spelling; the label does not."""
        return json.dumps([self.name, self.settings, targets_of(self.targets)], sort_keys=True)


class DataSpec(Frozen):
    """How many rows, how long, from where; ``split_seed`` alone decides which, so all runs of a task share them.

    ``chat_template`` asks in a user turn of the base's own template; ``append_eos`` trains the answer's end as well,
    which is never scored (docs/prompts.md).
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
    """AdamW, warm-up, decay, clipping (per lane) and accumulation; ``lr`` may be a list in a recipe, not in a run."""

    lr: Rate | Annotated[list[Rate], Field(min_length=1)] = 2.0e-4
    epochs: Annotated[float, Field(gt=0)] = 2.0
    micro_batch: Positive = 8
    global_batch: Positive = 32
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    clip: Annotated[float, Field(gt=0)] | None = 1.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    betas: Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = [0.9, 0.999]
    eps: Annotated[float, Field(gt=0)] = 1e-8

    @property
    def rates(self) -> list[float]:
        """The learning rates of the grid."""
        return list(self.lr) if isinstance(self.lr, list) else [self.lr]

    def micro_steps(self, workers: int) -> int:
        """Return how many micro batches of each of ``workers`` make a global batch."""
        return self.global_batch // (self.micro_batch * workers)

    @field_validator("lr")
    @classmethod
    def _each_rate_once(cls, lr: float | list[float]) -> float | list[float]:
        if isinstance(lr, list) and len(set(lr)) < len(lr):
            raise ValueError(f"lr={lr} repeats a rate: each rate is one run.")
        return lr


class EngineSpec(Frozen):
    """What trains: DeepSpeed ZeRO at a stage, or plain PyTorch in one process; ``pass_tokens`` bounds its memory.

    ``diagnostics`` says whether a run's weights are looked at as it ends (docs/diagnostics.md). ``deterministic`` lets
    a GPU use only kernels that give the same bits each time, which are slower.
    """

    kind: Literal["auto", "zero", "plain"] = "auto"
    stage: Annotated[int, Field(ge=0, le=3)] = 2
    gradient_checkpointing: bool = False
    pass_tokens: Positive | Literal["auto"] = "auto"  # noqa: S105 - no password: tokens of text
    diagnostics: bool = True
    deterministic: bool = False

    def resolved(self, workers: int) -> EngineSpec:
        """Return this with its kind decided: ``auto`` is plain for one worker, unless a stage of ZeRO is named."""
        if self.kind != "auto":
            return self
        named = self.stage != type(self).model_fields["stage"].default
        return self.model_copy(update={"kind": "zero" if workers > 1 or named else "plain"})


class ClusterSpec(Frozen):
    """Where it trains: ``workers`` processes a trial, ``pack`` runs a trial at most, ``retries`` after a failure."""

    kind: Literal["ray", "local"] = "ray"
    workers: Positive = 1
    gpus_per_worker: Annotated[int, Field(ge=0)] = 0
    cpus_per_worker: Positive = 1
    max_concurrent: Positive | Literal["auto"] = "auto"
    pack: Positive | Literal["auto"] = "auto"
    retries: Annotated[int, Field(ge=0)] = 1

    @field_validator("gpus_per_worker")
    @classmethod
    def _one_gpu_at_most(cls, gpus: int) -> int:
        if gpus > 1:
            raise ValueError(
                f"{gpus} is too many: a worker is one process on one GPU, so 0 or 1. To train a run on {gpus} GPUs: "
                f"gpus_per_worker: 1 and workers: {gpus}."
            )
        return gpus


class TrackingSpec(Frozen):
    """Which MLflow: a database, a server, or "none"."""

    uri: str = "sqlite:///mlflow.db"
    experiment: str | None = None

    @field_validator("uri")
    @classmethod
    def _of_a_form_that_is_known(cls, uri: str) -> str:
        if fault := fault_of(uri):
            raise ValueError(fault)
        return uri


class SearchSpec(Frozen):
    """Which runs are trained: all (grid), seed after seed those of settings that may be the best (racing, ADR 9), all
    seeds of the settings that TPE proposes (tpe, ADR 10), or all until they are beaten at a rung (asha, ADR 11).

    Racing: ``alpha`` is the chance that the whole race drops a setting as good as the best of its task, ``first`` the
    seeds before anything is dropped, ``resolve`` the points of accuracy within which settings are close enough (0: none
    are). TPE: ``trials`` settings of each task are tried, ``batch`` at a time, and ``seed`` draws what is proposed.
    With asha all runs begin, and only one in ``factor`` goes on at each rung (ADR 11); ``rung`` is the first, a number
    of steps or a share of the run.
    """

    kind: Literal["grid", "racing", "tpe", "asha"] = "grid"
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    first: Annotated[int, Field(ge=2)] = 3
    resolve: Annotated[float, Field(ge=0, lt=100)] = 0.0
    trials: Positive | None = None
    batch: Positive = 4
    seed: Annotated[int, Field(ge=0)] = 0
    rung: Annotated[int | float, Field(gt=0)] = 0.25
    factor: Annotated[int, Field(ge=2)] = 2

    @field_validator("rung")
    @classmethod
    def _steps_or_a_share(cls, rung: int | float) -> int | float:
        if isinstance(rung, float) and rung >= 1:
            raise ValueError(f"{rung} is no share of a run: give one below 1, or a whole number of steps.")
        return rung

    @model_validator(mode="after")
    def _each_key_has_its_kind(self) -> Self:
        fields = type(self).model_fields
        for kind, name in ((kind, name) for kind, names in KEYS_OF_SEARCH.items() for name in names):
            if self.kind != kind and getattr(self, name) != fields[name].default:
                here = "a grid" if self.kind == "grid" else f"kind: {self.kind}"
                own = KEYS_OF_SEARCH.get(self.kind)
                takes = f" It takes {listed(own)}." if own else ""
                raise ValueError(f"{name} belongs to kind: {kind}, and this is {here}.{takes}")
        return self


class SweepSpec(Frozen):
    """A recipe after reading: every task x method x rate x seed is a run."""

    name: Annotated[str, Field(pattern=NAME)]
    model: ModelSpec = ModelSpec()
    tasks: Annotated[list[TaskSpec], Field(min_length=1)]
    methods: Annotated[list[MethodSpec], Field(min_length=1)]
    seeds: Seeds
    controls: Literal["none", "matched"] = "none"  # "matched": the recipe's reader has added them to ``methods``
    budget: Literal["none", "parameters"] = "none"  # "parameters": ranks are chosen where the base's shape is known
    data: DataSpec = DataSpec()
    optim: OptimSpec = OptimSpec()
    engine: EngineSpec = EngineSpec()
    cluster: ClusterSpec = ClusterSpec()
    search: SearchSpec = SearchSpec()
    tracking: TrackingSpec = TrackingSpec()
    storage: str = "./sweeps"
    champions: bool = True

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int] | SeedAxes) -> list[int] | SeedAxes:
        return seeds if isinstance(seeds, SeedAxes) else distinct(seeds)

    @field_validator("tasks")
    @classmethod
    def _each_task_once(cls, tasks: list[TaskSpec]) -> list[TaskSpec]:
        repeated = [name for name, times in Counter(task.name for task in tasks).items() if times > 1]
        if repeated:
            raise ValueError(f"task {repeated[0]!r} stands here twice: give each a name of its own.")
        return tasks

    @field_validator("methods")
    @classmethod
    def _each_method_once(cls, methods: list[MethodSpec]) -> list[MethodSpec]:
        labels: dict[str, str] = {}
        for method in methods:
            same = labels.get(method.decides())
            if same is not None:
                raise ValueError(f"{method.label!r} has the same settings as {same!r}: both would be the same runs.")
            labels[method.decides()] = method.label
        return methods

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        workers, micro, total = self.cluster.workers, self.optim.micro_batch, self.optim.global_batch
        if total % (workers * micro):
            raise ValueError(
                f"global_batch={total} is not a multiple of workers * micro_batch = "
                f"{workers} * {micro} = {workers * micro}."
            )
        if self.engine.kind == "plain" and workers > 1:
            raise ValueError(
                f"engine.kind=plain trains in one process, but cluster.workers={workers}: use zero or auto."
            )
        return self

    @model_validator(mode="after")
    def _search_has_a_choice(self) -> Self:
        if self.search.kind == "grid":
            return self
        kind, settings, seeds = self.search.kind, self.settings, len(drawn(self.seeds))
        if settings < 2:
            raise ValueError(f"search.kind={kind} needs two settings (methods x rates) or more: give them, or grid.")
        if kind != "racing":
            return self
        first = self.search.first
        if isinstance(self.seeds, SeedAxes):
            raise ValueError("search.kind=racing compares independent seeds; pairs of two axes share them: list seeds.")
        if first >= seeds:
            raise ValueError(
                f"search.first={first} leaves nothing to save of {seeds} seeds: give more seeds, a smaller "
                "search.first (2 or more), or search.kind=grid."
            )
        return self

    @model_validator(mode="after")
    def _trials_are_in_the_grid(self) -> Self:
        settings, trials = self.settings, self.search.trials
        if self.search.kind != "tpe":
            return self
        if trials is None:
            raise ValueError(
                f"search.trials is missing: say how many of the {settings} settings (methods x rates) to try on each "
                f"task, for example {min(settings, max(8, settings // 4))}."
            )
        if trials > settings:
            raise ValueError(
                f"search.trials={trials} is more than the {settings} settings (methods x rates) of a task: at most "
                f"{settings}, which is what search.kind=grid trains."
            )
        return self

    @property
    def settings(self) -> int:
        """How many settings a task has: methods, each with its settings, at a rate."""
        return len(self.methods) * len(self.optim.rates)

    @property
    def runs_at_most(self) -> int:
        """How many runs are trained at most, unless some fail: fewer than the grid's where TPE tries some settings."""
        settings = self.search.trials if self.search.kind == "tpe" and self.search.trials else self.settings
        return len(self.tasks) * settings * len(drawn(self.seeds))

    @property
    def dtype(self) -> Literal["float32", "bfloat16"]:
        """The type to compute in: "auto" is bfloat16 on GPUs and float32 on CPUs, most of which are slow in bfloat16.

        Resolved from the recipe, not from the machine, because it decides results and so belongs in the run's key.
        """
        if self.model.dtype == "auto":
            return "bfloat16" if self.cluster.gpus_per_worker else "float32"
        return self.model.dtype

    @property
    def trained_by(self) -> EngineSpec:
        """The engine with its kind decided."""
        return self.engine.resolved(self.cluster.workers)

    @property
    def experiment(self) -> str:
        """The MLflow experiment."""
        return self.tracking.experiment or self.name


class RunSpec(Frozen):
    """One adapter to train: everything that decides its result, and nothing else (ADR 2).

    Engine, workers and packing are not here: tests hold their results equal to rounding, so changing them must not
    train a finished run again. ``seed`` names the run among its likes; where start and data have seeds of their own,
    ``apart`` has them and ``seed`` is their label.
    """

    task: TaskSpec
    method: MethodSpec
    seed: int
    model: ModelSpec
    data: DataSpec
    optim: OptimSpec
    apart: SeedPair | None = None

    @model_validator(mode="after")
    def _seed_names_the_pair(self) -> Self:
        if self.apart is not None and self.seed != self.apart.label:
            raise ValueError(
                f"seed={self.seed} is not the label of init={self.apart.init}, data={self.apart.data}, which is "
                f"{self.apart.label}: change all three, or take apart=None."
            )
        return self

    @property
    def init_seed(self) -> int:
        """What draws the adapter's start and its dropout."""
        return self.seed if self.apart is None else self.apart.init

    @property
    def data_seed(self) -> int:
        """What orders the rows."""
        return self.seed if self.apart is None else self.apart.data

    @property
    def seeds(self) -> dict[str, int]:
        """The seeds as a row of results has them."""
        return {"seed": self.seed, "init_seed": self.init_seed, "data_seed": self.data_seed}

    @property
    def lr(self) -> float:
        """The peak learning rate: a run has one."""
        (rate,) = self.optim.rates
        return rate

    def key(self, base_fingerprint: str, data_fingerprint: str) -> str:
        """Return the run key: 16 hexadecimal digits over this spec and the content of base and data.

        Places (paths, mirror) and labels do not count; what they hold is in the fingerprints.
        """
        return self.key_by_seed(base_fingerprint, data_fingerprint)(self)

    def key_by_seed(self, base_fingerprint: str, data_fingerprint: str) -> Callable[[RunSpec], str]:
        """Return the key of runs that differ from this one in their seeds: all else is written out once, sorted."""
        before = {
            "base": base_fingerprint,
            "data": data_fingerprint,
            "dtype": self.model.dtype,
            "format": FORMAT,
            "lr": self.lr,
            "method": self.method.name,
            "optim": self.optim.model_dump(exclude={"lr", "micro_batch"}),
        }
        after = {
            "settings": self.method.settings,
            "targets": targets_of(self.method.targets),
            "task": self.task.name,
        }
        head, tail = (json.dumps(part, sort_keys=True) for part in (before, after))
        head, tail = head.removesuffix("}"), tail.removeprefix("{")

        def key(run: RunSpec) -> str:
            seed = run.seed if run.init_seed == run.data_seed else [run.init_seed, run.data_seed]
            return hashlib.sha256(f'{head}, "seed": {seed}, {tail}'.encode()).hexdigest()[:16]

        return key


def joined(targets: Any) -> Any:
    """Return a list of patterns as one comma-separated text, anything else as it is."""
    if isinstance(targets, list) and targets and all(isinstance(one, str) for one in targets):
        return ",".join(targets)
    return targets


def targets_of(targets: str) -> list[str]:
    """Return the name patterns of a target set ("attention", "attention+mlp") or of a comma-separated list."""
    found: list[str] = []
    for part in targets.replace("+", ",").split(","):
        found += TARGET_SETS.get(part.strip(), (part.strip(),))
    return found


S = TypeVar("S", bound=Frozen)


def with_values(spec: S, values: Mapping[str, Any]) -> S:
    """Return a copy with dotted keys changed, checked like a new one: ``with_values(run, {"optim.lr": 3e-4})``."""
    data = spec.model_dump()
    for dotted, value in values.items():
        *parents, last = dotted.split(".")
        place: Any = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise InputError(unknown("value", dotted, _dotted(spec.model_dump())))
        place[last] = value
    return type(spec).model_validate(data)


def _dotted(data: Mapping[str, Any]) -> list[str]:
    """Return the dotted names of all values in ``data``."""
    inner = {key: value for key, value in data.items() if isinstance(value, dict)}
    return [*data, *(f"{key}.{name}" for key, value in inner.items() for name in _dotted(value))]
