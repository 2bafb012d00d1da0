"""The network interface that carries this node's address, for the libraries that connect the ranks of a trainer."""

from __future__ import annotations

import os
import socket

VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def choose_interface(address: str) -> str | None:
    """Set the variables that gloo and NCCL read, unless they are set; return the interface, None if none is known.

    Without them gloo takes the address to which the host's name resolves. On many hosts this is 127.0.0.1, which no
    other node can reach.
    """
    name = interface_of(address)
    if name is not None:
        for variable in VARIABLES:
            os.environ.setdefault(variable, name)
    return name


def interface_of(address: str) -> str | None:
    """Return the name of the interface that has this IP address; None if no interface has it."""
    import psutil

    families = (socket.AF_INET, socket.AF_INET6)
    return next(
        (
            name
            for name, addresses in psutil.net_if_addrs().items()
            if any(one.family in families and one.address.partition("%")[0] == address for one in addresses)
        ),
        None,
    )
