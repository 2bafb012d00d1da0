"""Which code runs here: the git commit of the checkout, and a digest of the sources, which an upload has too."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("d2lora", "orchestrator")
GIT_SECONDS = 20.0
COMMIT = "D2LORA_COMMIT"
"""The environment variable with the commit of an upload, because `ray job submit` leaves the folder ``.git`` out."""


@cache
def code_digest() -> str:
    """Return 12 hexadecimal digits over all sources of this project that this process imports.

    Two runs with the same digest were made by the same code, whatever the commits say: a checkout may have changes.
    """
    digest = hashlib.sha256()
    for name in PACKAGES:
        spec = find_spec(name)
        for root in spec.submodule_search_locations or () if spec else ():
            for file in sorted(Path(root).rglob("*.py")):
                digest.update(f"{name}/{file.relative_to(root)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def commit(folder: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the git commit of a checkout, with a mark if files differ from the commit; of an upload as `COMMIT` says.

    None where neither says it.
    """
    try:
        if not folder.resolve().is_relative_to(_git(folder, "rev-parse", "--show-toplevel")) or _ignored(folder):
            return environment.get(COMMIT)
        head, changed = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain")
    except (OSError, subprocess.SubprocessError):
        return environment.get(COMMIT)
    return head + (" with changes" if changed else "")


@cache
def own_commit() -> str | None:
    """Return the commit of this project's own checkout, asked once per process: its code was read when it began."""
    return commit(Path(__file__).parent)


def _git(folder: Path, *words: str) -> str:
    git = ["git", "-C", str(folder), *words]
    return subprocess.run(git, capture_output=True, text=True, check=True, timeout=GIT_SECONDS).stdout.strip()


def _ignored(folder: Path) -> bool:
    """Return whether a repository ignores the folder, as it ignores an environment with installed packages."""
    git = ["git", "-C", str(folder), "check-ignore", "-q", "."]
    return subprocess.run(git, capture_output=True, check=False, timeout=GIT_SECONDS).returncode == 0
