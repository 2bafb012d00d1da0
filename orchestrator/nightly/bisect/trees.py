"""The sources of a commit in a folder of their own: an archive of git, so that nothing is left in the repository."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import RunError
from orchestrator.nightly.bisect.candidates import CODE, repository_of

SECONDS = 600.0


@contextmanager
def sources_of(commit: str | None, place: Path, code: Path = CODE) -> Iterator[Path]:
    """Within: the folder with the sources of a commit, unpacked in ``place``; None: this checkout.

    After the block, and by `tidy` after a kill, ``place`` is gone. RunError if git cannot give the commit.
    """
    if commit is None:
        yield code
        return
    tidy(place)
    place.mkdir(parents=True)
    try:
        _unpack(commit, place, code)
        yield place
    finally:
        tidy(place)


def tidy(place: Path) -> None:
    """Remove what a kill has left of the sources of a commit."""
    shutil.rmtree(place, ignore_errors=True)


def _unpack(commit: str, place: Path, code: Path) -> None:
    """Unpack the part of a commit that this project's code is: a repository may hold it in a folder."""
    top = repository_of(code).resolve()
    within = code.resolve().relative_to(top).as_posix()
    tree = commit if within == "." else f"{commit}:{within}"
    archive = place.with_suffix(".tar")
    words = ["git", "-C", str(top), "archive", "--format=tar", f"--output={archive}", tree]
    try:
        subprocess.run(words, check=True, capture_output=True, text=True, timeout=SECONDS)
        with tarfile.open(archive) as content:
            content.extractall(place, filter="data")
    except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
        said = getattr(error, "stderr", None) or error
        raise RunError(f"git gives no sources of {commit[:12]}: {said}") from error
    finally:
        archive.unlink(missing_ok=True)
