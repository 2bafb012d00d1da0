"""One night from its lease to its page: anchors, canary, verdict, confirmation, frontier, and people are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from time import monotonic

from rich.console import Console

from orchestrator.doctor import quick
from orchestrator.driver.spending import budget_of
from orchestrator.files import make_folder
from orchestrator.logs import kept
from orchestrator.nightly.canary import canary_of
from orchestrator.nightly.confirm import Confirmation, confirm
from orchestrator.nightly.dates import night_named, refuse_replay
from orchestrator.nightly.frontier import Renewal, refuse_own_renewed, renew
from orchestrator.nightly.measure import measure
from orchestrator.nightly.outcome.assemble import assemble
from orchestrator.nightly.outcome.publish import publish
from orchestrator.nightly.record import history, over
from orchestrator.nightly.tonight import Tonight, begun
from orchestrator.recipe.spec import SweepSpec
from orchestrator.say import lines_to
from orchestrator.store.lease import hold
from orchestrator.store.links import refuse_links_out
from orchestrator.store.nights_folder import NightsFolder
from orchestrator.store.sweep_folder import SweepFolder
from orchestrator.verdict.judge import judge
from orchestrator.verdict.night import Night
from orchestrator.verdict.rules import Rules
from orchestrator.verdict.verdict import Verdict


def run_night(spec: SweepSpec, word: str | None, command: str, console: Console) -> int:
    """Do the parts of the night that are not done yet; return 0, or 1 if it is confirmed worse, or incomplete.

    ``word`` is the date of the night (YYYY-MM-DD); None is today. A night that is over prints its line again. A night
    that was killed goes on with the same command as if it had not been.

    Raises InputError before anything is trained, if recipe, date, storage, data, base or cluster cannot be used, and
    HeldError if another process works on a night of the sweep, or if a newer night has begun.
    """
    name, nights, say = night_named(word, date.today()), NightsFolder.of(spec), lines_to(console)
    folder, sweep, begin = nights.night(name), SweepFolder.of(spec), monotonic()
    canary_of(spec, folder)  # a recipe that can have no canary is refused before anything is prepared
    budget_of(spec)
    refuse_links_out(sweep.path)
    for line in quick.remarks_on_room(spec, quick.try_storage_of(spec)):
        say(line)
    with hold(nights.lease), kept(sweep.logs / "nights.jsonl"):
        nights.fetch()
        refuse_replay(name, [night.name for night in nights.nights])
        refuse_own_renewed(nights, spec)
        if (before := over(folder)) is not None:
            say(f"The night {name} is over: {before['line']}")
            return exit_code(str(before["verdict"]))
        with begun(spec, folder, command, console) as tonight:
            make_folder(folder.path)  # from now on older nights are refused
            say(f"{spec.name}: the night {name}")
            earlier = history(nights, name, say)
            measured = measure(tonight)
            verdict, confirmation = _judged(tonight, earlier, measured.night)
            renewal = renew(tonight, measured.night, verdict, unfinished=bool(confirmation and confirmation.unfinished))
            verdict = _with_faults(verdict, renewal)
            night = assemble(tonight, earlier, measured, verdict, confirmation, renewal, monotonic() - begin)
        publish(tonight, measured.night, verdict, night)
    return exit_code(verdict.status)


def exit_code(verdict: str) -> int:
    """Return the exit code of a night with this verdict."""
    return 1 if verdict in ("worse", "incomplete") else 0


def _judged(tonight: Tonight, earlier: list[Night], measured: Night) -> tuple[Verdict, Confirmation | None]:
    """Return the verdict, of a candidate after its confirmation, and the confirmation."""
    nightly = tonight.spec.nightly
    rules = Rules.of(nightly)
    verdict = judge(earlier, measured, rules, accepted=nightly.accepted)
    if verdict.wants is None:
        return verdict, None
    confirmation = confirm(tonight, verdict.wants)
    return judge(earlier, measured, rules, confirmation.runs, nightly.accepted), confirmation


def _with_faults(verdict: Verdict, renewal: Renewal) -> Verdict:
    """Return the verdict of a night whose sweep failed: incomplete, unless it is worse, which is worth more."""
    if not renewal.faults or verdict.is_bad:
        return verdict
    why = "; ".join(renewal.faults)
    return replace(
        verdict, status="incomplete", since=verdict.night, line=f"incomplete: {why}", why=why, nights_in_row=1
    )
