"""Compare the pinned versions with known weaknesses, where the advisory service answers in seconds; else say so."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

SECONDS = 15
SERVICE = "https://pypi.org/pypi/pip/23.2.1/json"  # the service that pip-audit asks; this version has advisories
PINS = Path(__file__).resolve().parents[1] / "constraints.txt"


def why_not() -> str | None:
    """Return why there are no advisories to compare with; None if the service has them."""
    try:
        with urllib.request.urlopen(SERVICE, timeout=5) as answer:
            return None if json.load(answer).get("vulnerabilities") else "it has no advisories"
    except (OSError, ValueError) as error:
        return str(error)


def main() -> int:
    """Print one line, or the weaknesses; return 1 if there are any."""
    if reason := why_not():
        print(f"pip-audit: pinned versions were not compared with advisories, for {SERVICE}: {reason}")  # noqa: T201
        return 0
    pins = ["--requirement", str(PINS), "--no-deps", "--disable-pip"]  # all are named: nothing has to be downloaded
    command = [str(Path(sys.executable).with_name("pip-audit")), *pins, "--format=json", "--progress-spinner=off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError) as error:
        print(f"pip-audit did not finish, so not all pinned versions were compared: {type(error).__name__}")  # noqa: T201
        return 0
    weak = [f"{one['name']} {one['version']}: {bug['id']}" for one in packages for bug in one.get("vulns", ())]
    compared = sum("skip_reason" not in one for one in packages)
    print(f"pip-audit: {compared} of {len(packages)} pinned versions compared, {len(weak)} weaknesses known", *weak)  # noqa: T201
    return int(bool(weak))


if __name__ == "__main__":
    sys.exit(main())
