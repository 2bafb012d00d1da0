"""Machines as a test wants them: all alike and in order, but for what is given."""

from __future__ import annotations

from typing import Any

from orchestrator.doctor.facts import Facts, Gpu, Room

GIB = 2**30
VERSIONS = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.13.0", "code": "abc"}
GPU = Gpu("L4", 23_034, 22_900, "570.1")


def a_room(**given: Any) -> Room:
    return Room(**({"shm": 8 * GIB, "handles": 65_536, "disk": {"/tmp": 80 * GIB}} | given))


def machine(number: int = 1, **given: Any) -> Facts:
    address = f"10.0.0.{number}"
    usual: dict[str, Any] = {
        "host": f"node-{number}",
        "address": address,
        "resolves_to": address,
        "versions": VERSIONS,
        "room": a_room(),
    }
    return Facts(**(usual | given))
