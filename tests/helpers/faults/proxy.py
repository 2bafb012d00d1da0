"""A proxy before an HTTP server that passes every request on and drops some replies, so their senders never know."""

from __future__ import annotations

import http.client
import random
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit


class Dropping(ThreadingHTTPServer):
    """Drops the ``share`` of all replies, drawn from ``seed``; counts ``passed`` and ``dropped`` by request."""

    daemon_threads = True

    def __init__(self, target: str, share: float, seed: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.share = urlsplit(target).netloc, share
        self._random, self._lock = random.Random(seed), Lock()
        self.passed: list[str] = []
        self.dropped: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def drops(self, request: str) -> bool:
        with self._lock:
            drop = self._random.random() < self.share
            (self.dropped if drop else self.passed).append(request)
        return drop


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Dropping

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        to = http.client.HTTPConnection(self.server.target, timeout=60)
        to.request(self.command, self.path, body, {**dict(self.headers.items()), "Connection": "close"})
        answer = to.getresponse()
        content = answer.read()
        to.close()
        if self.server.drops(f"{self.command} {urlsplit(self.path).path}"):
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _OWN]
        for name, value in (*kept, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on


_OWN = ("content-length", "transfer-encoding", "connection")


@contextmanager
def dropping(target: str, share: float, seed: int) -> Iterator[Dropping]:
    """Within: the proxy answers at its ``address``."""
    with Dropping(target, share, seed) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(10)
