"""A bad wire between a host and its bridge: it delays frames, loses some, or is cut, as its file of settings says.

usage: wire.py HOST_TAP BRIDGE_TAP SETTINGS

Makes the two network devices, whose frames it carries both ways until it is ended; the caller puts one into the host
and the other onto the bridge. The settings are JSON: ``delay`` in seconds and ``loss`` as a share, both per direction,
and ``cut``. They are read again several times per second. (The kernel's own tool, netem, is not on every machine.)
"""

from __future__ import annotations

import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

TUNSETIFF, TAP, PLAIN_FRAMES = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
FRAME = 65_536
LOOK_SECONDS = 0.2
SEED = 20


def tap(name: str) -> int:
    """Make the network device ``name``; return the descriptor with its frames."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH", name.encode(), TAP | PLAIN_FRAMES))
    return descriptor


def carry(ends: tuple[int, int], file: Path) -> None:
    """Carry frames between both devices for ever."""
    draw, waiting, number, looked = random.Random(SEED), list[tuple[float, int, int, bytes]](), 0, 0.0
    settings = json.loads(file.read_text())
    while True:
        now = time.monotonic()
        if now - looked > LOOK_SECONDS:
            settings, looked = json.loads(file.read_text()), now
        while waiting and waiting[0][0] <= now:
            _, _, end, frame = heapq.heappop(waiting)
            with suppress(OSError):  # the device is down, or its queue is full: the frame is lost, as on any wire
                os.write(end, frame)
        timeout = min(LOOK_SECONDS, max(0.0, waiting[0][0] - now)) if waiting else LOOK_SECONDS
        for end in select.select(ends, [], [], timeout)[0]:
            try:
                frame = os.read(end, FRAME)
            except OSError:
                continue  # the device is not up yet
            if not settings["cut"] and draw.random() >= settings["loss"]:
                number += 1
                other = ends[1] if end == ends[0] else ends[0]
                heapq.heappush(waiting, (time.monotonic() + settings["delay"], number, other, frame))


if __name__ == "__main__":
    carry((tap(sys.argv[1]), tap(sys.argv[2])), Path(sys.argv[3]))
