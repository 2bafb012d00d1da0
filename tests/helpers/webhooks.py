"""A webhook's server of a test's own on 127.0.0.1: it keeps what it gets, and answers as it was told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Webhook:
    """What a server got. ``answers`` are the statuses of the next requests; after them all are 200.

    A status of 0 is no answer: the connection stays open until the server ends.
    """

    address: str = ""
    answers: list[int] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    ends: threading.Event = field(default_factory=threading.Event)

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The bodies of all requests, as JSON."""
        return [json.loads(body) for _, body in self.got]


@contextmanager
def webhook(*answers: int, headers: Mapping[str, str] | None = None) -> Iterator[Webhook]:
    """Within: a server that answers with these statuses, one after another, and then with 200."""
    hook = Webhook(answers=list(answers), headers=headers or {})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = hook.answers.pop(0) if hook.answers else 200
            hook.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            hook.before()
            if status == 0:
                hook.ends.wait(30)
                return
            self.send_response(status)
            for name, value in hook.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hook.address = f"http://127.0.0.1:{server.server_port}/services/T0/secret-path?key=secret-query"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield hook
        finally:
            hook.ends.set()
            server.shutdown()
            thread.join()
