"""Show nights in MLflow: a run per night, and one run whose charts have all nights, in an experiment of their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.files import read_json
from orchestrator.recipe.spec import SweepSpec
from orchestrator.store.identity import Identity
from orchestrator.tracking.mlflow.connection import failures_explained, open_client
from orchestrator.tracking.mlflow.entities import points, run_tags
from orchestrator.tracking.mlflow.entries import FAILED, SWEEP_ID
from orchestrator.tracking.mlflow.experiment import runs_of, usable_experiment
from orchestrator.tracking.mlflow.fields import NOTE
from orchestrator.tracking.mlflow.night_fields import (
    digest_of,
    night_metrics,
    night_tags,
    night_title,
    step_of,
    time_ms,
)
from orchestrator.tracking.mlflow.source import source_tags
from orchestrator.tracking.sqlite_address import no_other_folder

CONTENT = "content"  # the tag with the digest of the night.json that MLflow has whole: the last thing that is sent
FIRST = "first"  # the tag of the trend with the night at step 0
FILES = ("index.html", "summary.md", "night.json")
FINISHED = "FINISHED"
BATCH = 900  # metrics per request; MLflow takes 1,000


class MlflowNights:
    """Sends the nights of a folder that MLflow lacks, or has with another content, the oldest first.

    A night that could not be sent is therefore sent with the next one. Tags: ``kind`` (night or trend), ``sweep``,
    ``sweep_id``, ``night``, ``verdict``, ``since``, ``told``.
    """

    def __init__(self, sweep: SweepSpec, uri: str, command: str, identity: Identity) -> None:
        """Connect to nothing yet; ``uri`` is absolute if it is a local database."""
        self._sweep, self._uri, self._command, self._identity = sweep, uri, command, identity
        self._client: Any = None
        self._experiment = ""
        self._moves = 0

    def moves(self) -> int:
        """Return how many requests have ended."""
        return self._moves

    def send(self, folder: Path) -> list[str]:
        """Send what MLflow lacks of the nights in ``folder``; return the nights that were sent.

        InputError for a fault that waiting does not mend, RunError for any other fault. Then call again: nothing is
        lost, and nothing is shown twice.
        """
        whole = dict(_whole_nights(folder))
        if not whole:
            return []
        with no_other_folder(self._uri), failures_explained(self._uri):
            self._client = open_client(self._uri, self._moved)
            self._experiment = usable_experiment(self._client, f"{self._sweep.experiment}-nights", self._uri)
            shown = self._listed()
            missing = {name: file for name, file in whole.items() if _is_missing(shown.get(name), file)}
            if missing:
                trend, first = self._trend(shown.get(""), min(whole))
                for name, file in missing.items():
                    self._send_night(shown.get(name), name, file, first, trend)
        return list(missing)

    def _send_night(self, run: Any, name: str, file: Path, first: str, trend: str) -> None:
        """Send a night, to its own run and to the trend; its tag `CONTENT` comes last."""
        content = file.read_bytes()
        night = json.loads(content)
        values, at = night_metrics(night), (time_ms(name), step_of(name, first))
        note = _text(file.with_name("summary.md")) or str(night.get("line") or "")
        tags = night_tags(night, note)
        if run is None:
            own = {"kind": "night", "night": name}
            run_id = self._create(night_title(night), own, at[0])
        else:
            run_id = str(run.info.run_id)
        self._log(run_id, values, at)
        self._log(trend, values, at)
        self._client.log_batch(run_id, tags=run_tags(tags))
        for path in (file.with_name(one) for one in FILES):
            if path.exists():
                self._client.log_artifact(run_id, str(path))
        seconds = (night.get("cost") or {}).get("seconds") or 0.0
        ended = FAILED if night["verdict"] == "incomplete" else FINISHED
        self._client.set_terminated(run_id, ended, at[0] + round(1000 * seconds))
        self._client.set_tag(run_id, CONTENT, digest_of(content))

    def _log(self, run_id: str, values: Mapping[str, float], at: tuple[int, int]) -> None:
        metrics = points(values, *at)
        for begin in range(0, len(metrics), BATCH):
            self._client.log_batch(run_id, metrics[begin : begin + BATCH])

    def _trend(self, run: Any, first: str) -> tuple[str, str]:
        """Return the id of the run with all nights, created if it is new, and the night at its step 0."""
        if run is not None:
            return str(run.info.run_id), str(run.data.tags.get(FIRST, first))
        note = "All nights, a step per day. On a chart the x-axis *Time (wall)* shows dates."
        run_id = self._create("trend", {"kind": "trend", FIRST: first, NOTE: note}, time_ms(first))
        self._client.set_terminated(run_id, FINISHED)
        return run_id, first

    def _listed(self) -> dict[str, Any]:
        """Return the nights that MLflow has, by name, and the trend as ""; delete doubles of them.

        A run is doubled where the server was slow: it created the run after the request had been given up. The run with
        most numbers is kept.
        """
        query = f"tags.{SWEEP_ID} = '{self._identity.word}'"
        runs = sorted(runs_of(self._client, self._experiment, query), key=_numbers)
        kept: dict[str, Any] = {}
        for run in runs:
            name = _place_of(run.data.tags)
            if name is None:
                continue
            if name in kept:
                self._client.delete_run(run.info.run_id)
            kept.setdefault(name, run)
        return kept

    def _create(self, name: str, tags: Mapping[str, str], begin: int) -> str:
        own = {"sweep": self._sweep.name, SWEEP_ID: self._identity.word, **source_tags(self._command)}
        run = self._client.create_run(self._experiment, start_time=begin, tags={**own, **tags}, run_name=name)
        return str(run.info.run_id)

    def _moved(self) -> None:
        self._moves += 1


def _whole_nights(folder: Path) -> Iterable[tuple[str, Path]]:
    """Yield the nights that are over, the oldest first, each with its ``night.json``."""
    for file in sorted(folder.glob("*/night.json")):
        content = read_json(file)
        if isinstance(content, dict) and content.get("night") == file.parent.name and content.get("verdict"):
            yield file.parent.name, file


def _is_missing(run: Any, file: Path) -> bool:
    return run is None or run.data.tags.get(CONTENT) != digest_of(file.read_bytes())


def _place_of(tags: Mapping[str, str]) -> str | None:
    """Return the night that a run shows, "" for the trend, None for a run of another program."""
    match tags.get("kind"):
        case "night":
            return tags.get("night")
        case "trend":
            return ""
    return None


def _numbers(run: Any) -> tuple[int, str]:
    return -len(run.data.metrics), str(run.info.run_id)


def _text(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
