"""Everything that a sweep needs before its first trial: base, targets, ranks and data, checked once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.base.look import look_at_base
from orchestrator.base.remarks import remarks_on_files
from orchestrator.base.source import StoredBase, resolve_base
from orchestrator.base.targets import remarks_on_experts, target_layers
from orchestrator.data.prepared import Prepared, load_prepared, prepare
from orchestrator.data.splits import Splits, split_examples
from orchestrator.data.tasks import make_task
from orchestrator.data.tokens import TokenisedSplit
from orchestrator.model.loading import load_tokenizer, sketch
from orchestrator.model.shortcuts import Shortcuts
from orchestrator.paths import resolve
from orchestrator.recipe.equal_parameters import trained_parameters, within_budget
from orchestrator.recipe.sections import TaskSpec
from orchestrator.recipe.spec import SweepSpec
from orchestrator.wording import count

Say = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """A checked sweep: its base, its tasks' tokens, and figures about them; ``work`` is a run's cost in tokens.

    ``shortcuts`` are what all its jobs leave out alike, for the base computes the same without.

    ``sweep`` is the recipe's, with the ranks that its budget has chosen: run keys follow from it.
    """

    sweep: SweepSpec
    base: StoredBase
    data: dict[str, Prepared]
    train_rows: dict[str, int]
    chance: dict[str, float]
    work: dict[str, float]
    shortcuts: Shortcuts

    @property
    def fingerprints(self) -> dict[str, str]:
        """Return each task's data fingerprint."""
        return {task: prepared.fingerprint for task, prepared in self.data.items()}


def make_ready(sweep: SweepSpec, cache: Path, say: Say) -> Ready:
    """Fetch, make and check all that the trainers will read; InputError before anything is started."""
    last = [0]

    def progress(step: int, steps: int, loss: float) -> None:
        if step == steps or step * 4 // steps > last[0]:
            last[0] = step * 4 // steps
            say(f"pre-training the tiny base (once): step {step} of {steps}, loss {loss:.2f}")

    data = {task.name: _examples(task, sweep) for task in sweep.tasks}
    base = resolve_base(sweep.model, cache / "models", progress)
    for line in remarks_on_files(base, sweep.dtype):
        say(line)
    sweep = _fitted(sweep, base.path, say)
    tokenizer = load_tokenizer(base.path)
    prepared = {}
    for name, splits in data.items():
        prepared[name] = prepare(
            splits,
            tokenizer,
            max_length=sweep.data.max_length,
            cache_dir=cache / "data",
            chat_template=sweep.data.chat_template,
            append_eos=sweep.data.append_eos,
        )
        say(_describe(prepared[name]))
    loaded = {name: load_prepared(one.path) for name, one in prepared.items()}
    rows = {name: TokenisedSplit.join(list(splits.values())) for name, splits in loaded.items()}
    shortcuts = look_at_base(base, sweep, rows, tokenizer, cache / "looks", say)
    return Ready(
        sweep=sweep,
        base=base,
        data=prepared,
        train_rows={name: len(splits["train"]) for name, splits in loaded.items()},
        chance={
            name: float(np.mean(1 / np.diff(splits["test"].choice_ends, prepend=0))) for name, splits in loaded.items()
        },
        work={name: _work(splits, sweep.optim.epochs) for name, splits in loaded.items()},
        shortcuts=shortcuts,
    )


def _work(splits: Mapping[str, TokenisedSplit], epochs: float) -> float:
    """Return about what a run costs: the tokens it scores, and twice those it trains on, forward and back."""
    train = splits["train"]
    trained = train.tokens.size / train.token_ends.size * len(train)
    return float(2 * epochs * trained + sum(splits[name].tokens.size for name in ("validation", "test")))


def _examples(task: TaskSpec, sweep: SweepSpec) -> Splits:
    settings = sweep.data
    made = make_task(**task.model_dump())
    return split_examples(
        made,
        mirror=resolve(settings.mirror) if settings.mirror else None,
        train_samples=settings.train_samples,
        validation_samples=settings.validation_samples,
        eval_samples=settings.eval_samples,
        split_seed=settings.split_seed,
        skip_bad_rows=settings.bad_rows == "skip",
    )


def _fitted(sweep: SweepSpec, base: Path, say: Say) -> SweepSpec:
    """Return the sweep within its budget; refuse targets that match nothing and ranks that do not fit."""
    model = sketch(base)
    targets = dict.fromkeys(method.targets for method in sweep.methods)
    layers: Mapping[str, Mapping[str, tuple[int, int]]] = {one: target_layers(model, one) for one in targets}
    for one in targets:
        for line in remarks_on_experts(model, one):
            say(line)
    sweep = within_budget(sweep, layers.__getitem__)
    for method in sweep.methods:
        trained_parameters(method, layers[method.targets])
    return sweep


def _describe(prepared: Prepared) -> str:
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
    told = "; ".join(note for note in notes if note)
    return f"{prepared.task}: {report.train} train, {report.validation} validation, {report.test} test rows" + (
        f" ({told})" if told else ""
    )


def _appended(prepared: Prepared) -> str:
    """Return a note on the special tokens that the tokenizer puts behind every text."""
    if not prepared.appended:
        return ""
    return f"{count(len(prepared.appended), 'token')} cut from the end of every text: {' '.join(prepared.appended)}"
