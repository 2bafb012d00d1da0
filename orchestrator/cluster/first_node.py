"""Wait until a cluster that was joined has room for a first trainer; the request for it brings nodes."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.cluster.hub.nodes import remove_groups, room_now
from orchestrator.cluster.hub.room import RoomWait
from orchestrator.cluster.placement import bundle_of
from orchestrator.errors import InputError
from orchestrator.recipe.cluster_section import ClusterSpec


def wait_for_first_node(spec: ClusterSpec, say: Callable[[str], None]) -> None:
    """Ask for the room of one trainer, and return when it is there; an autoscaler sees the request as a demand.

    Minutes after `ray up` a cluster may have no worker yet. ``say`` gets a line after ten seconds and then each minute.
    InputError after ``spec.wait_seconds``.
    """
    from ray.util.placement_group import placement_group

    wait = RoomWait(spec)
    group = placement_group([bundle_of(spec)] * spec.workers, "PACK")
    try:
        while not group.wait(1):
            match wait.look(True, time.monotonic()):
                case "say":
                    say(wait.word(room_now()))
                case "give up":
                    raise InputError(f"cluster: {wait.reason(room_now())}")
    finally:
        remove_groups([group])
