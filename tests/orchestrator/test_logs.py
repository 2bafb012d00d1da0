"""Logs of a sweep: one JSON object per line, without secrets, and no disk that fails ends the work."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from orchestrator.logs import kept, log_of_pack

LOG = logging.getLogger("orchestrator.some.module")


def test_lines_are_json_with_time_place_and_traceback_and_without_secrets(tmp_path: Path) -> None:
    file = log_of_pack(tmp_path / "logs", "a1-p0000", 1)
    assert file.name == "pack-a1-p0000-rank1.jsonl"
    for _ in range(2):  # a later attempt is appended
        with kept(file):
            LOG.info("sent to %s", "http://me:hunter2@server/")
            LOG.debug("not kept")
            try:
                raise ValueError("at http://me:hunter2@server/")
            except ValueError:
                LOG.exception("failed")
    LOG.info("not kept either")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["level"], row["module"]) for row in rows] == [("info", LOG.name), ("error", LOG.name)] * 2
    assert "ValueError" in rows[1]["traceback"]
    assert rows[0]["time"].endswith("+00:00")
    assert "hunter2" not in file.read_text()


def test_a_file_that_cannot_be_opened_or_written_costs_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file")
    with kept(tmp_path / "logs" / "driver.jsonl"):
        LOG.info("said")
    assert "No log is kept" in caplog.text
    with kept(Path("/dev/full")):
        LOG.info("said")
