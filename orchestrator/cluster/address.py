"""RAY_ADDRESS: its form, and whether a Ray answers there, before Ray is asked, which would try for two minutes."""

from __future__ import annotations

import os
import re
import socket
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from threading import Thread
from urllib.parse import urlsplit

from orchestrator.errors import InputError

SECONDS = 5.0  # to find the host, to connect and to be greeted
PORT = 6379  # what `ray start --head` listens on
_FORM = re.compile(r"(?P<client>ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]?#]+):(?P<port>[0-9]{1,5})")
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # and no settings: RFC 9113, 3.4
_SETTINGS = 4  # the type of frame that each server of HTTP/2, and so of gRPC, sends first
_OUT = "Unset RAY_ADDRESS, and the job starts a local Ray; or take cluster.kind=local, which needs none."


def named_address() -> str | None:
    """Return the address in RAY_ADDRESS; None where it names none: a local Ray is started then."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def check_address() -> None:
    """Refuse a RAY_ADDRESS of another form, or where no Ray answers within SECONDS: InputError with the way out."""
    address = named_address()
    if address is None:
        return
    place = _place(address) if address != "auto" else _current()
    if place is None:
        raise InputError(f"RAY_ADDRESS=auto: no Ray runs on this machine; `ray start --head` starts one. {_OUT}")
    if reason := _silent(*place):
        raise InputError(
            f"RAY_ADDRESS={address} does not answer ({reason}). {_OUT} A cluster of your own is started with "
            "`ray start --head`."
        )


def _place(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``ray://host:port``; InputError where the address is neither."""
    form = _FORM.fullmatch(address)
    if form is None or not 0 < int(form["port"]) < 2**16:
        raise InputError(_refusal(address))
    return form["host"].strip("[]"), int(form["port"])


def _refusal(address: str) -> str:
    """Return what is wrong with a form, and the nearest address that is right; a password is not repeated."""
    shown = re.sub(r"//[^/@]*@", "//", address)
    try:
        host = urlsplit(address if "//" in address else f"//{address}").hostname or "HOST"
    except ValueError:  # brackets that nobody closes
        host = "HOST"
    host = f"[{host}]" if ":" in host else host
    told = f"RAY_ADDRESS={shown!r} is no address of a Ray: write host:port of its head, RAY_ADDRESS={host}:{PORT}. "
    if address.startswith(("http://", "https://")):
        told += (
            "It is a dashboard's address, which takes jobs: "
            f"`ray job submit --address {shown} --working-dir . -- python jobs/sweep.py RECIPE`. "
        )
    return told + _OUT


def _current() -> tuple[str, int] | None:
    """Return where the Ray of this machine is that ``auto`` means, or None."""
    from ray._private.services import get_ray_address_from_environment

    try:
        return _place(get_ray_address_from_environment("auto", None))
    except ConnectionError:
        return None


def _silent(host: str, port: int) -> str | None:
    """Return why no Ray answers there, or None if one does; in a thread, for the search for a host has no limit."""
    answer: Future[str | None] = Future()
    Thread(target=lambda: answer.set_result(_greet(host, port)), daemon=True).start()
    try:
        return answer.result(SECONDS)
    except Late:
        return f"nothing within {SECONDS:g} s"


def _greet(host: str, port: int) -> str | None:
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as line:
            if os.environ.get("RAY_USE_TLS", "0") == "1":  # its greeting is a secret
                return None
            line.sendall(_GREETING)
            frame = line.recv(4)
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "not a name that a host can have"
    return None if len(frame) == 4 and frame[3] == _SETTINGS else "something listens there that is no Ray"
