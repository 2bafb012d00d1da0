"""The frame of a night, without training: what is refused before anything, what is asked again, and the exit codes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from orchestrator.errors import HeldError, InputError
from orchestrator.nightly import run
from orchestrator.nightly.record import write_night
from orchestrator.nightly.run import run_night
from orchestrator.recipe.read import read_recipe
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.lease import hold
from orchestrator.store.nights_folder import NightsFolder
from orchestrator.verdict.verdict import Evidence, Verdict
from tests.helpers.nights import night as night_json

RECIPE = "name: n\ntasks: [boolq]\nmethods: [lora]\nseeds: [0, 1]\ntracking: {uri: none}\ncluster: {kind: local}\n"


class Frame:
    """A recipe, and a night of which every part that trains is replaced; ``asked`` are the parts in their order."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
        (place / "n.yaml").write_text(RECIPE + f"storage: {place}/sweeps\n{more}")
        self.spec: SweepSpec = read_recipe(place / "n.yaml")
        self.nights = NightsFolder.of(self.spec)
        self.asked: list[str] = []
        self.wants, self.status, self.faults = False, "same_bytes", list[str]()
        for part in ("measure", "confirm", "renew", "assemble", "publish", "judge"):
            monkeypatch.setattr(run, part, getattr(self, f"_{part}"))
        monkeypatch.setattr(run, "begun", self._begun)

    def run(self, night: str | None = None) -> tuple[int, str]:
        output = io.StringIO()
        code = run_night(self.spec, night, "python jobs/nightly.py n.yaml", Console(file=output, width=200))
        return code, output.getvalue()

    @contextmanager
    def _begun(self, spec: SweepSpec, *_: Any) -> Iterator[Any]:
        self.asked.append("begin")
        yield SimpleNamespace(spec=spec)
        self.asked.append("end")

    def _measure(self, _: Any) -> Any:
        self.asked.append("measure")
        return SimpleNamespace(night="measured")

    def _judge(self, _history: Any, night: Any, _rules: Any, confirmation: Any = None, accepted: Any = ()) -> Any:
        self.asked.append("judge again" if confirmation else "judge")
        wants = "candidate" if self.wants and not confirmation else None
        return verdict_of(self.status, wants)

    def _confirm(self, _: Any, candidate: Any) -> Any:
        self.asked.append(f"confirm the {candidate}")
        return SimpleNamespace(runs=["run"], unfinished=False)

    def _renew(self, _: Any, night: Any, verdict: Any, *, unfinished: bool) -> Any:
        self.asked.append(f"renew under {verdict.status}")
        return SimpleNamespace(faults=self.faults)

    def _assemble(self, *_: Any) -> dict[str, Any]:
        return {}

    def _publish(self, _tonight: Any, _night: Any, verdict: Any, _content: Any) -> None:
        self.asked.append(f"publish {verdict.status}")


def verdict_of(status: Any, wants: Any) -> Verdict:
    evidence = Evidence(None, None, threshold_p=0.001, threshold_e=1000.0)
    return Verdict("2026-11-01", status, "2026-11-01", f"{status}.", (), {}, evidence, wants=wants)


@pytest.fixture
def frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Frame:
    return Frame(tmp_path, monkeypatch)


def test_a_calm_night_measures_judges_renews_and_publishes_after_the_cluster_is_closed(frame: Frame) -> None:
    assert frame.run("2026-11-01")[0] == 0
    assert frame.asked == ["begin", "measure", "judge", "renew under same_bytes", "end", "publish same_bytes"]


def test_a_candidate_is_confirmed_before_anything_else_happens(frame: Frame) -> None:
    frame.wants, frame.status = True, "worse"
    assert frame.run("2026-11-01")[0] == 1
    assert frame.asked[2:6] == ["judge", "confirm the candidate", "judge again", "renew under worse"]


@pytest.mark.parametrize(
    ("status", "code"),
    [("same_bytes", 0), ("within_noise", 0), ("better", 0), ("ruler_moved", 0), ("worse", 1), ("incomplete", 1)],
)
def test_the_exit_code_is_that_of_the_verdict_also_of_a_night_that_is_over(
    frame: Frame, status: str, code: int
) -> None:
    frame.status = status
    assert frame.run("2026-11-01")[0] == code
    write_night(frame.nights.night("2026-11-01"), night_json(status, name="2026-11-01", status="over"))
    frame.asked.clear()
    again, printed = frame.run("2026-11-01")
    assert (again, frame.asked) == (code, [])
    assert f"The night 2026-11-01 is over: The verdict is {status}." in printed


def test_a_sweep_that_fails_makes_the_night_incomplete_but_a_worse_night_stays_worse(frame: Frame) -> None:
    frame.faults = ["the sweep's run failed"]
    assert frame.run("2026-11-01")[0] == 1
    assert frame.asked[-1] == "publish incomplete"
    frame.status = "worse"
    assert frame.run("2026-11-02")[0] == 1
    assert frame.asked[-1] == "publish worse"


def test_without_a_date_it_is_tonight(frame: Frame) -> None:
    frame.run()
    assert [night.name for night in frame.nights.nights] == [date.today().isoformat()]


def test_an_older_night_is_refused_also_while_the_newer_one_is_not_over(frame: Frame) -> None:
    frame.run("2026-11-02")
    frame.asked.clear()
    with pytest.raises(HeldError, match="2026-11-01 is older than the night 2026-11-02"):
        frame.run("2026-11-01")
    assert frame.asked == []
    assert frame.run("2026-11-02")[0] == 0  # the newer one goes on


def test_a_night_that_another_process_holds_is_refused_and_names_it(frame: Frame) -> None:
    with hold(frame.nights.lease), pytest.raises(HeldError, match=r"is in use by process \d+ on "):
        frame.run("2026-11-01")
    assert (frame.asked, frame.nights.nights) == ([], [])


def test_what_is_wrong_with_the_date_or_the_recipe_is_refused_before_anything(
    frame: Frame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="still to come"):
        frame.run((date.today() + timedelta(days=2)).isoformat())
    own = Frame(tmp_path, monkeypatch, "renewed: {lora: again}\n")
    with pytest.raises(
        InputError, match=r"nights decide themselves which methods are trained anew\. Leave the key out"
    ):
        own.run("2026-11-01")
    assert own.asked == []
    assert not frame.nights.nights
