"""What an error of Ray says about the end of a trainer."""

from __future__ import annotations

import pytest

from orchestrator.cluster.trainers.ends import end_of
from orchestrator.machine.full_memory import is_about_memory


def error(name: str, text: str = "text", base: type[Exception] = Exception) -> Exception:
    """An error of a class of this name, as Ray has it."""
    return type(name, (base,), {})(text)


class RayActorError(Exception):
    """Ray's base class of errors of dead actors."""


DIED = error("ActorDiedError", "its process has died (OOM killer among other causes)", RayActorError)


@pytest.mark.parametrize(
    ("raised", "failures", "sort"),
    [
        (DIED, {0: DIED}, "lost"),
        (error("RayTaskError"), {0: error("RayTaskError")}, "raised"),
        (error("RayTaskError"), {1: error("RayTaskError"), 0: DIED}, "lost"),
        (error("NodeDiedError"), {}, "lost"),
        (error("GetTimeoutError"), {}, "lost"),
    ],
)
def test_a_trainer_is_lost_unless_one_of_its_ranks_raised(
    raised: Exception, failures: dict[int, Exception], sort: str
) -> None:
    assert end_of(raised, failures).sort == sort
    assert not is_about_memory(end_of(raised, failures).error)


@pytest.mark.parametrize(
    "killed",
    [
        error("OutOfMemoryError", "Task was killed due to the node running low on memory."),
        error("ActorDiedError", "The actor died: the node was running low on memory", RayActorError),
    ],
)
def test_a_worker_that_ray_s_memory_monitor_has_killed_is_about_memory_and_is_not_tried_as_it_was(
    killed: Exception,
) -> None:
    end = end_of(killed, {0: killed})
    assert end.sort == "raised"
    assert is_about_memory(end.error)
    assert is_about_memory(end.failures[0])


@pytest.mark.parametrize(
    ("raised", "gone"),
    [
        (error("NodeDiedError"), True),
        (error("ActorDiedError", "The actor died because its node has died. Node Id: 7f", RayActorError), True),
        (DIED, False),
    ],
)
def test_the_loss_of_a_node_is_told_from_a_crash(raised: Exception, gone: bool) -> None:
    assert end_of(raised, {0: raised}).node_gone is gone
