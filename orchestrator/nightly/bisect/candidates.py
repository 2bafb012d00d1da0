"""The candidates of a bisection, from good to bad: commits of this project, or interpreters with their libraries."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.driver.provenance import LIBRARIES
from orchestrator.errors import InputError

SECONDS = 120.0
CODE = Path(__file__).resolve().parents[3]
"""The root of this project's code: what a commit or an interpreter runs ``jobs/sweep.py`` from."""
VERSIONS = """
import importlib.metadata, json, os, platform, sys
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
names = sys.argv[1:]
os.write(1, json.dumps({"python": platform.python_version(), **{name: version(name) for name in names}}).encode())
"""


@dataclass(frozen=True)
class Candidate:
    """One candidate: ``key`` names its files, ``label`` and ``line`` name it for people.

    It is tried with the interpreter ``python``, on the sources of ``commit``; None: on those of this checkout.
    """

    key: str
    label: str
    line: str
    python: str = sys.executable
    commit: str | None = None

    @property
    def words(self) -> str:
        """The candidate for people, as ``ab12cd34ef56 (A. Author, 2026-11-28: Subject)``."""
        return f"{self.label} ({self.line})" if self.line else self.label


def commits(named: str, repository: Path = CODE) -> list[Candidate]:
    """Return the commits from the good end to the bad end of ``GOOD..BAD``, along first parents, both ends included.

    The older one of the two is the good end, however they are given. InputError for a commit that is not known, for two
    of which neither is before the other, and without a repository.
    """
    first, dots, second = named.partition("..")
    if not dots or not first or not second or second.startswith("."):
        raise InputError(f"--bisect {named}: give two commits as GOOD..BAD.")
    good, bad = (_commit(name, named, repository) for name in (first, second))
    if _is_before(bad, good, repository):
        good, bad = bad, good
    if good == bad or not _is_before(good, bad, repository):
        raise InputError(
            f"--bisect {named}: {first} is not before {second}, so no commits lie between them. Give two different "
            "commits of one line."
        )
    form = "--format=%H%x00%an%x00%as%x00%s"
    lines = [_git(repository, "log", "-1", form, good)]
    lines += _git(repository, "log", "--first-parent", "--reverse", form, f"{good}..{bad}").splitlines()
    return [_of_commit(*line.split("\0", 3)) for line in lines]


def interpreters(pythons: Sequence[str]) -> list[Candidate]:
    """Return a candidate per interpreter, labelled by the versions in which they differ; InputError if one is none."""
    versions = [_versions(python) for python in pythons]
    differing = [name for name in versions[0] if len({each[name] for each in versions}) > 1]
    candidates = []
    for python, each in zip(pythons, versions, strict=True):
        label = ", ".join(f"{name} {each[name]}" for name in differing) or python
        key = hashlib.sha256(json.dumps([str(Path(python).absolute()), each]).encode()).hexdigest()[:12]
        candidates.append(Candidate(f"p-{key}", label, python, python=str(Path(python).absolute())))
    return candidates


def repository_of(code: Path = CODE) -> Path:
    """Return the top folder of the repository that has the sources in ``code``; InputError if there is none."""
    try:
        top = Path(_git(code, "rev-parse", "--show-toplevel"))
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(
            f"{code} is no checkout of a git repository, so there are no commits to try. Give --bisect on a machine "
            "with the repository; --python and --settings need none."
        ) from error
    return top


def _of_commit(sha: str, author: str, day: str, subject: str) -> Candidate:
    return Candidate(f"c-{sha[:12]}", sha[:12], f"{author}, {day}: {subject}", commit=sha)


def _commit(name: str, named: str, repository: Path) -> str:
    repository_of(repository)
    try:
        return _git(repository, "rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except subprocess.SubprocessError:
        raise InputError(
            f"--bisect {named}: {name} is no commit of {repository}. Perhaps it has to be fetched: git fetch."
        ) from None


def _is_before(first: str, second: str, repository: Path) -> bool:
    words = ["git", "-C", str(repository), "merge-base", "--is-ancestor", first, second]
    return subprocess.run(words, check=False, capture_output=True, timeout=SECONDS).returncode == 0


def _git(folder: Path, *words: str) -> str:
    git = ["git", "-C", str(folder), *words]
    return subprocess.run(git, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()


def _versions(python: str) -> dict[str, str | None]:
    words = [python, "-c", VERSIONS, *LIBRARIES]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=SECONDS).stdout
        versions: dict[str, str | None] = json.loads(said)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise InputError(
            f"--python {python}: this is no Python that can be started ({type(error).__name__}). Give the bin/python "
            "of an environment with this project's dependencies."
        ) from error
    return versions
