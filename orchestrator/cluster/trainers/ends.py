"""What an error of Ray says about the end of a trainer: a rank raised, a process is gone, or memory was full."""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.cluster.hub.assignments import End, Sort
from orchestrator.machine.full_memory import FULL, is_about_memory

_KILLED_FOR_MEMORY = ("low on memory", "memory pressure", "out of memory", "OutOfMemory")
_GONE = ("RayActorError", "NodeDiedError", "OwnerDiedError")
_NODE_GONE = ("NodeDiedError",)
_NODE_DIED = re.compile(r"\bnode (has died|died|was terminated|is dead)", re.IGNORECASE)
_RAISED = ("RayTaskError",)


def end_of(error: Exception, failures: Mapping[int, Exception]) -> End:
    """Return how a trainer ended with this error; ``failures`` are the errors of its ranks, by rank.

    A process that Ray's memory monitor has killed counts as raised, with the words by which `is_about_memory` knows
    that memory was full: the same pack would be killed again, and a narrower pack may fit.
    """
    texts = {rank: str(failure) or repr(failure) for rank, failure in failures.items()}
    text = str(error) or repr(error)
    if any(_gone(failure) and _about_memory(str(failure)) for failure in failures.values()):
        told = f"{text}\n{FULL}: Ray's memory monitor has killed a worker of this trainer"
        return End(told, {rank: f"{one}\n{FULL}" for rank, one in texts.items()}, "raised")
    node_gone = any(_is(one, *_NODE_GONE) or _NODE_DIED.search(str(one)) for one in (error, *failures.values()))
    return End(text, texts, _sort(error, failures), node_gone)


def _sort(error: Exception, failures: Mapping[int, Exception]) -> Sort:
    errors = (error, *failures.values())
    if any(map(_gone, errors)):
        return "lost"
    return "raised" if any(_is(one, *_RAISED) for one in errors) else "lost"


def _about_memory(text: str) -> bool:
    return is_about_memory(text) or any(words in text for words in _KILLED_FOR_MEMORY)


def _gone(error: object) -> bool:
    return _is(error, *_GONE, "OutOfMemoryError")


def _is(error: object, *names: str) -> bool:
    """Return whether the error is of a class with one of these names. Only names are compared: some are private."""
    return any(kind.__name__ in names for kind in type(error).__mro__)
