"""Memory of processes and all their descendants, as proportional set size: a page that they share counts once."""

from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")


def tree_pss(roots: Iterable[int], proc: Path = PROC) -> int:
    """Return the bytes of the processes and all their descendants; a process that has ended counts as 0."""
    pids, left = set(), list(roots)
    while left:
        pid = left.pop()
        if pid not in pids:
            pids.add(pid)
            left += _children(proc / str(pid))
    return sum(_pss(proc / str(pid)) for pid in pids)


def _children(process: Path) -> list[int]:
    pids = []
    for task in process.glob("task/*/children"):
        pids += [int(word) for word in _text(task).split()]
    return pids


def _pss(process: Path) -> int:
    for line in _text(process / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has ended since its parent listed it
