"""Temporary folders of processes that were killed are removed by the next one; those in use never are."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from orchestrator.cluster.session.temporary import LOCK, make_temporary, remove_abandoned, remove_temporary
from tests.helpers.places import ROOT

MAKES = """
import sys, time
from orchestrator.cluster.session.temporary import make_temporary
print(make_temporary("ray-", sys.argv[1]), flush=True)
time.sleep(60)
"""


def test_a_folder_is_removed_after_its_process_was_killed_and_not_before(tmp_path: Path) -> None:
    maker = subprocess.Popen([sys.executable, "-c", MAKES, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert maker.stdout is not None
    with maker:
        folder = Path(maker.stdout.readline().strip())
        (folder / "session").mkdir()
        assert remove_abandoned("ray-", str(tmp_path)) == 0
        assert folder.is_dir()
        maker.send_signal(signal.SIGKILL)
        maker.wait(10)
    assert remove_abandoned("ray-", str(tmp_path)) == 1
    assert not folder.exists()


def test_a_folder_of_this_process_stays_until_it_is_removed(tmp_path: Path) -> None:
    folder = make_temporary("ray-", str(tmp_path))
    assert folder.stat().st_mode & 0o777 == 0o700
    assert remove_abandoned("ray-", str(tmp_path)) == 0
    remove_temporary(folder)
    assert not folder.exists()


def test_folders_of_others_and_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ray-of-another-program").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / LOCK).touch()
    (tmp_path / "ray-link").symlink_to(elsewhere)
    (tmp_path / "ray-planted").mkdir()
    (tmp_path / "ray-planted" / LOCK).symlink_to(elsewhere / LOCK)
    before = set(tmp_path.rglob("*"))
    assert remove_abandoned("ray-", str(tmp_path)) == 0
    assert set(tmp_path.rglob("*")) == before
