"""Everything that a sweep needs before its first round, checked once: base, targets, adapter ranks, data and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.base.look import look_at_base
from orchestrator.base.remarks import remarks_on_files
from orchestrator.base.source import StoredBase, resolve_base
from orchestrator.base.targets import remarks_on_experts, target_layers
from orchestrator.data.batches import count_steps
from orchestrator.data.prepared import Prepared, load_prepared, prepare
from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task
from orchestrator.data.tokens import TokenisedSplit
from orchestrator.errors import InputError
from orchestrator.model.loading import load_tokenizer, sketch
from orchestrator.model.shortcuts import Shortcuts
from orchestrator.paths import readable
from orchestrator.plan.runs import PlannedRun, expand, keyed
from orchestrator.recipe.equal_parameters import trained_parameters, with_equal_parameters
from orchestrator.recipe.sections import TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import Say
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.wording import count


@dataclass(frozen=True)
class ReadySweep:
    """A checked sweep: everything that the later steps need. It never changes.

    ``spec`` is the recipe with the adapter ranks that its ``budget`` has chosen. ``base`` and ``data`` (by task) are on
    disk. By task: ``steps`` (optimizer steps per run), ``chance`` (accuracy of guessing, a share), ``row_tokens`` (mean
    tokens of a row that trains) and ``work`` (cost of a run, in tokens). ``shortcuts`` are the shortcuts that every job
    takes. ``runs`` are all planned runs, in the recipe's order.
    """

    spec: SweepSpec
    base: StoredBase
    data: Mapping[str, Prepared]
    steps: Mapping[str, int]
    chance: Mapping[str, float]
    row_tokens: Mapping[str, float]
    work: Mapping[str, float]
    shortcuts: Shortcuts
    runs: tuple[PlannedRun, ...]

    @property
    def fingerprints(self) -> dict[str, str]:
        """The fingerprint of each task's data."""
        return {task: prepared.fingerprint for task, prepared in self.data.items()}

    @property
    def data_files(self) -> dict[str, str]:
        """The file of each task's prepared data, as trainers on other machines open it."""
        return {task: str(prepared.path) for task, prepared in self.data.items()}

    @property
    def steps_by_key(self) -> dict[str, int]:
        """The optimizer steps of each run, by run key."""
        return {run.key: self.steps[run.spec.task.name] for run in self.runs}

    def part(self, spec: SweepSpec) -> ReadySweep:
        """Return the ready sweep of another recipe with the same base and some of the same tasks, for its own runs."""
        tasks = [task.name for task in spec.tasks]
        data = {task: self.data[task] for task in tasks}
        fingerprints = {task: prepared.fingerprint for task, prepared in data.items()}
        return replace(
            self,
            spec=spec,
            data=data,
            steps={task: self.steps[task] for task in tasks},
            chance={task: self.chance[task] for task in tasks},
            row_tokens={task: self.row_tokens[task] for task in tasks},
            work={task: self.work[task] for task in tasks},
            runs=tuple(keyed(expand(spec), self.base.fingerprint, fingerprints)),
        )

    def base_scores(self, folder: SweepFolder, task: str) -> Path:
        """Return the file with the untrained base's scores on the task's test items."""
        return folder.base_scores(str(self.data[task].path), self.base.fingerprint, self.spec.dtype)


def make_ready(spec: SweepSpec, cache: Path, say: Say, when_checked: Callable[[], None] | None = None) -> ReadySweep:
    """Fetch, make and check everything that the trainers will read; InputError before anything is trained.

    ``when_checked`` is called as soon as the rows are read and the base's files, targets and adapter ranks are checked.
    Few sweeps fail after these checks, so other slow work can begin beside tokenising and the look at the base.
    """
    examples = {task.name: _examples(task, spec) for task in spec.tasks}
    base = resolve_base(spec.model, cache / "models", _quarters_of_pretraining(say))
    for line in remarks_on_files(base, spec.dtype):
        say(line)
    spec = _with_ranks(spec, base.path, say)
    if when_checked:
        when_checked()
    tokenizer = load_tokenizer(base.path)
    data = {task: _tokenised(splits, spec, tokenizer, cache / "data", say) for task, splits in examples.items()}
    tokens = {task: load_prepared(prepared.path) for task, prepared in data.items()}
    rows = {task: TokenisedSplit.join(list(splits.values())) for task, splits in tokens.items()}
    shortcuts = look_at_base(base, spec, rows, tokenizer, cache / "looks", say)
    optim = spec.optim
    fingerprints = {task: prepared.fingerprint for task, prepared in data.items()}
    return ReadySweep(
        spec=spec,
        base=base,
        data=data,
        steps={
            task: count_steps(len(splits["train"]), optim.global_batch, optim.epochs) for task, splits in tokens.items()
        },
        chance={
            task: float(np.mean(1 / np.diff(splits["test"].choice_ends, prepend=0))) for task, splits in tokens.items()
        },
        row_tokens={task: _row_tokens(splits["train"]) for task, splits in tokens.items()},
        work={task: _work(splits, optim.epochs) for task, splits in tokens.items()},
        shortcuts=shortcuts,
        runs=tuple(keyed(expand(spec), base.fingerprint, fingerprints)),
    )


def refuse_empty_merge(ready: ReadySweep, folder: SweepFolder, command: str) -> None:
    """Refuse a merge of a folder without a committed run: InputError names the command to give first.

    After an upgrade the folder may hold only runs of an older version. A merge would then replace the tables of these
    runs by empty tables.
    """
    if not any(folder.run(run.key).ended() == "committed" for run in ready.runs):
        first = command.replace("jobs/merge.py", "jobs/sweep.py", 1)
        raise InputError(f"{folder.runs}: nothing of this version is committed here; first: {first}")


def runs_of_other_versions(folder: SweepFolder) -> str | None:
    """Return a line on runs in ``folder`` whose results another version wrote; None if there are no such runs."""
    old = folder.runs_of_other_formats()
    if not old:
        return None
    return (
        f"{count(old, 'run')} in {folder.runs} of another version, whose results are not comparable: "
        "not taken up, and not deleted"
    )


def _quarters_of_pretraining(say: Say) -> Callable[[int, int, float], None]:
    """Return a listener of the tiny base's pre-training that prints a line per quarter."""
    last = [0]

    def progress(step: int, steps: int, loss: float) -> None:
        if step == steps or step * 4 // steps > last[0]:
            last[0] = step * 4 // steps
            say(f"pre-training the tiny base (once): step {step} of {steps}, loss {loss:.2f}")

    return progress


def _tokenised(splits: Splits, spec: SweepSpec, tokenizer: Any, cache: Path, say: Say) -> Prepared:
    """Tokenise a task's rows, or take them from the cache, and print how many rows each split has."""
    prepared = prepare(
        splits,
        tokenizer,
        max_length=spec.data.max_length,
        cache_dir=cache,
        chat_template=spec.data.chat_template,
        append_eos=spec.data.append_eos,
    )
    say(describe_rows(prepared))
    return prepared


def _row_tokens(rows: TokenisedSplit) -> float:
    """Return the mean number of tokens of a choice with its prompt."""
    return float(rows.tokens.size / max(1, rows.token_ends.size))


def _work(splits: Mapping[str, TokenisedSplit], epochs: float) -> float:
    """Return the approximate cost of a run, in tokens: the tokens that it scores, plus twice its training tokens.

    Training runs the model forward and back, scoring only forward.
    """
    trained = _row_tokens(splits["train"]) * len(splits["train"])
    return float(2 * epochs * trained + sum(splits[name].tokens.size for name in ("validation", "test")))


def _examples(task: TaskSpec, sweep: SweepSpec) -> Splits:
    settings = sweep.data
    return split_examples(
        make_task(**task.model_dump()),
        mirror=readable(settings.mirror) if settings.mirror else None,
        train_samples=settings.train_samples,
        validation_samples=settings.validation_samples,
        eval_samples=settings.eval_samples,
        split_seed=settings.split_seed,
        skip_bad_rows=settings.bad_rows == "skip",
    )


def _with_ranks(sweep: SweepSpec, base: Path, say: Say) -> SweepSpec:
    """Return the sweep with the adapter ranks that its ``budget`` asks for.

    InputError if a method's targets match no layer of the base, or if a rank does not fit a layer.
    """
    model = sketch(base)
    targets = dict.fromkeys(method.targets for method in sweep.methods)
    layers: Mapping[str, Mapping[str, tuple[int, int]]] = {names: target_layers(model, names) for names in targets}
    for names in targets:
        for line in remarks_on_experts(model, names):
            say(line)
    sweep = with_equal_parameters(sweep, layers.__getitem__)
    for method in sweep.methods:
        trained_parameters(method, layers[method.targets])
    return sweep


def describe_rows(prepared: Prepared) -> str:
    """Return a line on a task's rows: how many rows each split has, and how many were left out or cut."""
    report = prepared.report
    cut = sum(prepared.truncated.values())
    notes = [
        f"{report.duplicates} duplicates left out" if report.duplicates else "",
        f"{report.leaked} train rows that are in test left out" if report.leaked else "",
        f"{report.skipped} bad rows left out" if report.skipped else "",
        f"{cut} prompts cut to data.max_length" if cut else "",
        f"{report.indistinct} with choices that are the same tokens to the base" if report.indistinct else "",
        _appended(prepared),
    ]
    remarks = "; ".join(note for note in notes if note)
    return f"{prepared.task}: {report.train} train, {report.validation} validation, {report.test} test rows" + (
        f" ({remarks})" if remarks else ""
    )


def _appended(prepared: Prepared) -> str:
    """Return a note on special tokens that the tokenizer appends to every text and that are cut off again, or ""."""
    if not prepared.appended:
        return ""
    return f"{count(len(prepared.appended), 'token')} cut from the end of every text: {' '.join(prepared.appended)}"
