"""The schedules in deploy/nightly as what they start when: expression, its time zone, the time zone of the night."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helpers.places import ROOT

PLACE = ROOT / "deploy" / "nightly"
KINDS = ("crontab", "systemd", "github", "cronjob", "raycronjob")


@dataclass(frozen=True)
class Schedule:
    """When a night starts: ``cron`` in ``zone``; ``night_zone`` is the zone whose date the night has.

    The zone "" is the machine's own.
    """

    cron: str
    zone: str
    night_zone: str
    command: str


def loaded(name: str) -> dict[str, Any]:
    """Return a YAML file of deploy/nightly."""
    content = yaml.safe_load((PLACE / f"{name}.yaml").read_text())
    assert isinstance(content, dict)
    return content


def unit(name: str) -> configparser.ConfigParser:
    """Return a systemd unit of deploy/nightly; a key that stands twice is an error here."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(PLACE / name)
    return parser


def cron_line(text: str) -> tuple[dict[str, str], str, str]:
    """Return the variables, the expression and the command of a crontab with one line."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"[A-Z_]+=", line))
    (line,) = [line for line in lines if not re.match(r"[A-Z_]+=", line)]
    words = line.split(None, 5)
    return variables, " ".join(words[:5]), words[5]


def schedule(kind: str) -> Schedule:
    """Return the schedule of a file of deploy/nightly."""
    return {
        "crontab": _crontab,
        "systemd": _systemd,
        "github": _github,
        "cronjob": _cronjob,
        "raycronjob": _raycronjob,
    }[kind]()


def _crontab() -> Schedule:
    variables, cron, command = cron_line((PLACE / "crontab").read_text())
    return Schedule(cron, variables.get("CRON_TZ", ""), variables.get("TZ", ""), command)


def _systemd() -> Schedule:
    timer, service = unit("d2lora-nightly.timer")["Timer"], unit("d2lora-nightly.service")["Service"]
    match = re.fullmatch(r"\*-\*-\* (\d\d):(\d\d):00 (\S+)", timer["OnCalendar"])
    assert match, timer["OnCalendar"]
    zone = service["Environment"].removeprefix("TZ=")
    return Schedule(f"{int(match[2])} {int(match[1])} * * *", match[3], zone, service["ExecStart"])


def _github() -> Schedule:
    workflow = loaded("github")
    (entry,) = workflow[True]["schedule"]  # YAML 1.1 reads the key `on` as true
    job = workflow["jobs"]["night"]
    (command,) = [step["run"] for step in job["steps"] if "jobs/nightly.py" in step.get("run", "")]
    return Schedule(entry["cron"], entry.get("timezone", "UTC"), job["env"]["TZ"], command)


def _cronjob() -> Schedule:
    spec = loaded("cronjob")["spec"]
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    command = " ".join(container["args"])
    return Schedule(spec["schedule"], spec["timeZone"], _zone_in(command), command)


def _raycronjob() -> Schedule:
    spec = loaded("raycronjob")["spec"]
    command = spec["jobTemplate"]["entrypoint"]
    return Schedule(spec["schedule"], spec["timeZone"], _zone_in(command), command)


def _zone_in(command: str) -> str:
    (zone,) = re.findall(r"\benv TZ=(\S+) python ", command)
    return str(zone)


def text_of(kind: str) -> str:
    """Return the text of all files of a kind."""
    names = {"crontab": "crontab*", "systemd": "d2lora-nightly.*"}.get(kind, f"{kind}.yaml")
    return "\n".join(path.read_text() for path in sorted(Path(PLACE).glob(names)))
