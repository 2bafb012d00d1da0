"""Post a message to a webhook, tried again while its server fails, within a time that is known before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Thread
from urllib.parse import urlsplit

import requests

from orchestrator.nightly.telling.signature import headers_of

ASK_AGAIN = (408, 425, 429)
"""Answers 4xx that may be different at another time, beside all 5xx."""

SHORTEST = 0.05  # seconds: a limit of 0 is refused


@dataclass(frozen=True)
class Patience:
    """For how many seconds a delivery waits: for a connection, for an answer, and in all.

    The pauses between attempts begin with ``pause``, double, and end with ``longest``; a server may ask for a longer
    one (``Retry-After``). Nothing is begun that would end after ``total``.
    """

    connect: float = 5.0
    answer: float = 10.0
    total: float = 60.0
    pause: float = 0.5
    longest: float = 15.0


@dataclass(frozen=True)
class Delivered:
    """How a delivery ended: how often it was tried, and why it failed; None if it arrived."""

    attempts: int
    problem: str | None


@dataclass(frozen=True)
class _Answer:
    """What came of one attempt: the problem, whether to try again, and after how many seconds at least."""

    problem: str | None
    again: bool = False
    wait: float = 0.0


def fault_of_address(address: str) -> str | None:
    """Return why nothing can be posted to an address, without a part of the address; None if its form is right."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    return None if usable else "it is not http://HOST/... or https://HOST/..."


def origin_of(address: str) -> str:
    """Return the scheme, host and port of an address: in a webhook's address the rest is often the secret.

    >>> origin_of("https://ann:word@hooks.example.com/services/T0/B0/secret?key=1")
    'https://hooks.example.com'
    """
    parts = urlsplit(address)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")


class Delivery:
    """One message on its way to one address; ``secret`` signs it."""

    def __init__(self, address: str, message_id: str, body: bytes, secret: str | None, patience: Patience) -> None:
        self._address, self._id, self._body, self._secret = address, message_id, body, secret
        self._patience = patience
        self._attempts = 0
        self._problem: str | None = f"no answer within {patience.total:g} s"

    def run(self) -> Delivered:
        """Deliver; never raises.

        The attempts are made in a thread, because neither the look-up of a host nor an answer that comes a byte at a
        time has a limit of its own.
        """
        thread = Thread(target=self._deliver, name="telling", daemon=True)
        thread.start()
        thread.join(self._patience.total)
        return Delivered(self._attempts, self._problem)

    def _deliver(self) -> None:
        end, pause = time.monotonic() + self._patience.total, self._patience.pause
        try:
            with requests.Session() as session:
                while True:
                    left = end - time.monotonic()
                    self._attempts += 1
                    answer = self._attempt(session, left)
                    self._problem = answer.problem
                    wait = max(pause, answer.wait)
                    if not answer.again or time.monotonic() + wait >= end:
                        return
                    time.sleep(wait)
                    pause = min(2 * pause, self._patience.longest)
        except Exception as error:  # whatever a library raises: its text may hold the address, its kind does not
            self._problem = f"{type(error).__name__} ({_cause(error)})"

    def _attempt(self, session: requests.Session, left: float) -> _Answer:
        left = max(left, SHORTEST)
        limits = min(self._patience.connect, left), min(self._patience.answer, left)
        headers = headers_of(self._id, int(time.time()), self._body, self._secret)
        try:
            with session.post(
                self._address, data=self._body, headers=headers, timeout=limits, allow_redirects=False, stream=True
            ) as answer:
                return _judged(answer.status_code, answer.headers.get("Retry-After"))
        except requests.exceptions.SSLError:
            return _Answer("its certificate is refused")
        except requests.exceptions.ConnectTimeout:
            return _Answer(f"no connection within {limits[0]:g} s", again=True)
        except requests.exceptions.Timeout:
            return _Answer(f"no answer within {limits[1]:g} s", again=True)
        except requests.exceptions.ConnectionError as error:
            return _Answer(f"no connection: {_cause(error)}", again=True)


def _judged(status: int, retry_after: str | None) -> _Answer:
    if 200 <= status < 300:
        return _Answer(None)
    if 300 <= status < 400:
        return _Answer(f"it answers {status}, a redirect, which is not followed: name the final address")
    again = status >= 500 or status in ASK_AGAIN
    seconds = float(retry_after) if retry_after and retry_after.isdecimal() and len(retry_after) < 6 else 0.0
    return _Answer(f"it answers {status}", again, seconds)


def _cause(error: BaseException) -> str:
    """Return the words of the system's error below an error, or the kind of the innermost error; never an address."""
    at: BaseException | None = error
    words = type(error).__name__
    for _ in range(20):
        if at is None:
            break
        words = type(at).__name__
        if isinstance(at, OSError) and at.strerror:
            return at.strerror
        reason = getattr(at, "reason", None) or next((arg for arg in at.args if isinstance(arg, BaseException)), None)
        at = reason if isinstance(reason, BaseException) else at.__cause__ or at.__context__
    return words
