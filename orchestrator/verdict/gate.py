"""Pure: whether the new best run of a task may replace the standing champion, by their answers on the same items."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from orchestrator.statistics.significance import one_sided_mcnemar_p
from orchestrator.wording import count, p_value, points

LEVEL = 0.05
"""The new run is refused if the test finds it worse than the standing champion with a p of at most this."""

Word = Literal["first", "kept", "moved", "refused"]


@dataclass(frozen=True)
class Standing:
    """The standing champion of a task: the key of its run, and its answers on tonight's test items.

    ``right`` has "1" or "0" per item. None: it could not be scored on these items, for the reason ``why_not``.
    ``source`` says in words where the answers come from.
    """

    run_key: str
    right: str | None
    source: str = ""
    why_not: str = ""


@dataclass(frozen=True)
class Decision:
    """What the gate of a task has decided on the run ``run_key``; ``standing`` is the run that stood before.

    "first": no champion stood. "kept": the run stands already. "moved": the run replaces the champion. "refused": the
    champion stays. ``lost`` and ``won`` count the items that only the champion, and only the run, has right.
    ``difference`` is the accuracy of the run minus that of the champion, a share; ``p`` is the one-sided p of "worse".
    """

    task: str
    run_key: str
    standing: str | None
    decision: Word
    why: str
    p: float | None = None
    difference: float | None = None
    lost: int | None = None
    won: int | None = None

    @property
    def lets_in(self) -> bool:
        """Whether the run is the champion from now on."""
        return self.decision != "refused"

    def as_json(self) -> dict[str, Any]:
        """Return the decision as fields of a JSON file."""
        return asdict(self)

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> Decision:
        """Return the decision that `as_json` has written."""
        return cls(**{name: fields.get(name) for name in cls.__dataclass_fields__})  # type: ignore[arg-type]


def gate(
    task: str, run_key: str, right: str, standing: Standing | None, rolled_back: Mapping[str, str] | None = None
) -> Decision:
    """Decide on the new best run ``run_key`` with the answers ``right``, as of `Standing`.

    ``rolled_back`` says in words when each run was rolled back that was, by run key. A run that cannot be compared
    with the standing champion is refused: nobody knows whether it is worse.
    """
    before = standing.run_key if standing else None
    if standing and before == run_key:
        return Decision(task, run_key, before, "kept", "the best run is the champion already")
    if rolled_back and run_key in rolled_back:
        return Decision(task, run_key, before, "refused", rolled_back[run_key])
    if standing is None:
        return Decision(task, run_key, None, "first", "no champion stands")
    if standing.right is None:
        return Decision(task, run_key, before, "refused", f"it cannot be compared: {standing.why_not}")
    if len(standing.right) != len(right) or not right:
        why = f"it cannot be compared: it answered {len(right)} items, the champion {len(standing.right)}"
        return Decision(task, run_key, before, "refused", why)
    return _compared(task, run_key, right, standing, standing.right)


def _compared(task: str, run_key: str, right: str, standing: Standing, champions: str) -> Decision:
    pairs = list(zip(champions, right, strict=True))
    lost, won = pairs.count(("1", "0")), pairs.count(("0", "1"))
    p, difference = one_sided_mcnemar_p(lost, won), (won - lost) / len(right)
    worse = p <= LEVEL
    verdict = "worse than" if worse else "not worse than"
    why = (
        f"{verdict} the champion on {count(len(right), 'item')}: {points(difference)} points, {lost} lost, {won} won, "
        f"p {p_value(p)}{f' ({standing.source})' if standing.source else ''}"
    )
    word: Word = "refused" if worse else "moved"
    return Decision(task, run_key, standing.run_key, word, why, p, difference, lost, won)
