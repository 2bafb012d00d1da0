"""Pure: whose results of the whole sweep still stand tonight, by the bytes of the canary.

Every method's results were trained under some bytes of the canary (`Trained`). If tonight's bytes are those, the
results stand, whatever changed under the code. If not, the method is reached: its runs are trained again with the night
in their key. If an earlier night had tonight's bytes (a bug was reverted) and its runs are still there, the sweep goes
back to them and trains nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from orchestrator.verdict.night import Night, Status
from orchestrator.wording import listed

Signature = Mapping[str, str]
"""The digest of a canary run by ``method/task/seed``, as one string."""


@dataclass(frozen=True)
class Trained:
    """Under which bytes a method's results of the sweep were trained.

    ``night`` is in the runs' keys (``SweepSpec.renewed``); None for runs from before nights. ``ruler`` is
    `ruler_of` the night. ``verified`` is False for runs that were there before the first night and whose code and
    versions are not that night's.
    """

    night: str | None
    signature: Signature
    ruler: str
    verified: bool = True


State = Mapping[str, Sequence[Trained]]
"""Per method all that was trained and is still in the store, the present one last (``nights/frontier.json``)."""


@dataclass(frozen=True)
class Frontier:
    """What happens to the sweep tonight.

    ``renewed`` is for ``SweepSpec.renewed``: a method that is missing has its runs of before nights. ``reached`` are
    the methods that are trained again, ``back`` those that went back to earlier runs, ``kept`` the rest. ``trains``
    says whether runs that are missing may be trained tonight at all. ``why`` is one sentence. ``state`` is to be
    written."""

    renewed: dict[str, str]
    reached: tuple[str, ...]
    back: tuple[str, ...]
    kept: tuple[str, ...]
    trains: bool
    why: str
    state: dict[str, tuple[Trained, ...]]


@dataclass(frozen=True)
class _Step:
    """What happens to one method: its history in the store with the present entry last, and the word for it."""

    trained: tuple[Trained, ...]
    word: Literal["kept", "reached", "back", "waits"]


def decide(  # noqa: PLR0913 - each word is a fact of its own that only the caller knows
    state: State,
    tonight: Night,
    status: Status,
    methods: Sequence[str],
    *,
    unfinished_confirmation: bool = False,
    verified: bool = True,
    retrain_when_ruler_moves: bool = False,
    missing: bool = True,
) -> Frontier:
    """Return what happens to the sweep tonight; ``methods`` are the labels of all methods of the recipe.

    ``verified`` matters on the first night of a method only: whether the sweep's finished runs have tonight's code and
    versions, or there are none. ``missing`` matters after the ruler moved: whether runs of the recipe are missing under
    tonight's base and rows; if none is, somebody has trained the sweep under them, and these results stand.
    """
    why = _holds(status, unfinished_confirmation)
    if why and not (status == "ruler_moved" and retrain_when_ruler_moves):
        present = {method: tuple(state[method]) for method in methods if state.get(method)}
        return _frontier({method: _Step(trained, "kept") for method, trained in present.items()}, methods, False, why)
    adopts = retrain_when_ruler_moves or not missing
    steps = {method: _step(state.get(method, ()), tonight, method, verified, adopts) for method in methods}
    waiting = [method for method, step in steps.items() if step.word == "waits"]
    return _frontier(steps, methods, not waiting, _why(steps))


def _holds(status: Status, unfinished_confirmation: bool) -> str:
    """Return why nothing is trained tonight; "" if something may be."""
    if status == "worse":
        return "the night is worse: the sweep's results stay as they are"
    if status == "ruler_moved":
        return "the ruler moved: the sweep's results stay under the base and rows that they were trained with"
    if status == "incomplete":
        return "the night is incomplete: nothing tells whether the sweep's results still stand"
    return "a loss is suspected and not confirmed yet" if unfinished_confirmation else ""


def _step(trained: Sequence[Trained], tonight: Night, method: str, verified: bool, adopts: bool) -> _Step:
    signature, ruler = signature_of(tonight, method), ruler_of(tonight)
    if not trained:
        return _Step((Trained(None, signature, ruler, verified),), "kept")
    *earlier, present = trained
    if present.ruler == ruler and _agree(present.signature, signature):
        return _Step((*earlier, replace(present, signature={**present.signature, **signature})), "kept")
    old = [one for one in earlier if one.ruler == ruler and _agree(one.signature, signature)]
    if old:
        return _Step((*(one for one in trained if one is not old[-1]), old[-1]), "back")
    if present.ruler != ruler:
        adopted = (*trained, Trained(present.night, signature, ruler))
        return _Step(adopted, "kept") if adopts else _Step(tuple(trained), "waits")
    if not present.signature.keys() & signature.keys():  # another canary: nothing speaks against the results
        return _Step((*trained, replace(present, signature=signature, verified=False)), "kept")
    return _Step((*trained, Trained(tonight.name, signature, ruler)), "reached")


def _agree(one: Signature, other: Signature) -> bool:
    """Return whether two signatures have runs in common, and equal digests for all of these."""
    shared = one.keys() & other.keys()
    return bool(shared) and all(one[key] == other[key] for key in shared)


def _frontier(steps: Mapping[str, _Step], methods: Sequence[str], trains: bool, why: str) -> Frontier:
    def of(word: str) -> tuple[str, ...]:
        return tuple(method for method in methods if method in steps and steps[method].word == word)

    present = {method: step.trained[-1].night for method, step in steps.items()}
    return Frontier(
        renewed={method: night for method, night in present.items() if night is not None},
        reached=of("reached"),
        back=of("back"),
        kept=tuple(method for method in methods if method not in (*of("reached"), *of("back"))),
        trains=trains,
        why=why,
        state={method: step.trained for method, step in steps.items()},
    )


def _why(steps: Mapping[str, _Step]) -> str:
    of = {
        word: [method for method, step in steps.items() if step.word == word] for word in ("reached", "back", "waits")
    }
    if of["waits"]:
        return (
            f"the results of {listed(of['waits'])} are of another base or other rows; "
            "python jobs/sweep.py RECIPE trains the sweep under tonight's"
        )
    parts = []
    if of["reached"]:
        parts.append(f"the canary's bytes moved: {listed(of['reached'])} trained again")
    if of["back"]:
        parts.append(f"the canary's bytes are those of an earlier night: {listed(of['back'])} back to the runs of then")
    if parts:
        return "; ".join(parts)
    if not all(step.trained[-1].verified for step in steps.values()):
        return "results kept; some were there before the first night, under code that no canary has compared with"
    return "the canary's bytes are those of the results: they stand, whatever changed in the code"


def signature_of(tonight: Night, method: str) -> Signature:
    """Return the method's part of the canary's bytes; for a method without a canary the whole canary's."""
    runs = [run for of_cell in tonight.fixed.values() for run in of_cell.values()]
    every = {f"{run.method}/{run.task}/{run.seed}": run.digest for run in runs}
    own = {f"{run.method}/{run.task}/{run.seed}": run.digest for run in runs if run.method == method}
    return own or every


def ruler_of(tonight: Night) -> str:
    """Return what results are comparable under: a digest of the base and the rows."""
    parts = [tonight.world.base, *(f"{task}={rows}" for task, rows in sorted(tonight.world.rows.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
