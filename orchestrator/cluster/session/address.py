"""Check RAY_ADDRESS in seconds: its form, and whether a Ray answers there. Ray itself would try for two minutes."""

from __future__ import annotations

import os
import re
import socket
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from threading import Thread
from urllib.parse import urlsplit

from orchestrator.errors import InputError

SECONDS = 5.0  # the time limit for finding the host, connecting and getting an answer, together
PORT = 6379  # the port on which `ray start --head` listens
_FORM = re.compile(r"(?P<client>ray://)?(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/@\[\]?#]+):(?P<port>[0-9]{1,5})")
# the first bytes of an HTTP/2 client: the preface and an empty SETTINGS frame (RFC 9113, 3.4)
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4  # the type of the first frame of an HTTP/2 server, and so of a gRPC server
_OUT = "Unset RAY_ADDRESS, and the job starts a local Ray; or take cluster.kind=local, which needs none."


def named_address() -> str | None:
    """Return the address in RAY_ADDRESS; None if the variable names no cluster, so that a local Ray is started."""
    address = os.environ.get("RAY_ADDRESS", "")
    return None if address in ("", "local") else address


def check_address() -> None:
    """Raise InputError if RAY_ADDRESS has a wrong form or no Ray answers there within SECONDS; it says what to do."""
    address = named_address()
    if address is None:
        return
    host_and_port = _parsed(address) if address != "auto" else _ray_of_this_machine()
    if host_and_port is None:
        raise InputError(f"RAY_ADDRESS=auto: no Ray runs on this machine; `ray start --head` starts one. {_OUT}")
    if reason := _why_no_ray(*host_and_port):
        raise InputError(
            f"RAY_ADDRESS={address} does not answer ({reason}). {_OUT} A cluster of your own is started with "
            "`ray start --head`."
        )


def _parsed(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``ray://host:port``; InputError if the address has another form."""
    form = _FORM.fullmatch(address)
    if form is None or not 0 < int(form["port"]) < 2**16:
        raise InputError(_refusal(address))
    return form["host"].strip("[]"), int(form["port"])


def _refusal(address: str) -> str:
    """Return what is wrong with the form of an address, and the nearest right address, without a password."""
    shown = re.sub(r"//[^/@]*@", "//", address)
    try:
        host = urlsplit(address if "//" in address else f"//{address}").hostname or "HOST"
    except ValueError:  # a bracket that is not closed
        host = "HOST"
    host = f"[{host}]" if ":" in host else host
    message = f"RAY_ADDRESS={shown!r} is no address of a Ray: write host:port of its head, RAY_ADDRESS={host}:{PORT}. "
    if address.startswith(("http://", "https://")):
        message += (
            "It is a dashboard's address, which takes jobs: "
            f"`ray job submit --address {shown} --working-dir . -- python jobs/sweep.py RECIPE`. "
        )
    return message + _OUT


def _ray_of_this_machine() -> tuple[str, int] | None:
    """Return host and port of the Ray on this machine, the meaning of ``auto``; None if no Ray runs here."""
    from ray._private.services import get_ray_address_from_environment

    try:
        return _parsed(get_ray_address_from_environment("auto", None))
    except ConnectionError:
        return None


def _why_no_ray(host: str, port: int) -> str | None:
    """Return why no Ray answers at this address; None if a Ray answers.

    The question is asked in a thread, because a look-up of the host's name has no time limit.
    """
    answer: Future[str | None] = Future()
    Thread(target=lambda: answer.set_result(_greet(host, port)), daemon=True).start()
    try:
        return answer.result(SECONDS)
    except Late:
        return f"nothing within {SECONDS:g} s"


def _greet(host: str, port: int) -> str | None:
    """Connect and exchange the first frames of HTTP/2; return what is wrong with the answer, None if a Ray answers."""
    try:
        with socket.create_connection((host, port), timeout=SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "1":  # with TLS the answer cannot be read
                return None
            connection.sendall(_GREETING)
            frame = connection.recv(4)
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:
        return "not a name that a host can have"
    return None if len(frame) == 4 and frame[3] == _SETTINGS else "something listens there that is no Ray"
