"""RAY_ADDRESS: judged by its form, then by who answers, in seconds, before all else; the advice is tried."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import jobs.sweep
from jobs.command import run_job
from orchestrator.cluster.session import address
from orchestrator.cluster.session.address import check_address, named_address
from orchestrator.cluster.session.ray_session import SET_HERE, Session, leave_other_clusters
from orchestrator.errors import InputError

GRPC = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])  # the empty SETTINGS frame that a server of HTTP/2 begins with


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A server that answers the first bytes of each line with these, or never; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                    lines.append(line)
                    if answer is not None:
                        line.recv(100)
                        line.sendall(answer)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for line in lines:
            line.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refusal(monkeypatch: pytest.MonkeyPatch, value: str) -> str:
    monkeypatch.setenv("RAY_ADDRESS", value)
    with pytest.raises(InputError) as caught:
        check_address()
    message = str(caught.value)
    assert message.startswith("RAY_ADDRESS=")
    assert "Unset RAY_ADDRESS, and the job starts a local Ray; or take cluster.kind=local, which needs none." in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("http://127.0.0.1:8265", "RAY_ADDRESS=127.0.0.1:6379."),
        ("https://ray.example/x?y", "RAY_ADDRESS=ray.example:6379."),
        ("http://[::1]:8265", "RAY_ADDRESS=[::1]:6379."),
        ("head", "RAY_ADDRESS=head:6379."),
        ("head:", "RAY_ADDRESS=head:6379."),
        ("ray://head", "RAY_ADDRESS=head:6379."),
        ("127.0.0.1:0", "RAY_ADDRESS=127.0.0.1:6379."),
        ("127.0.0.1:99999", "RAY_ADDRESS=127.0.0.1:6379."),
        ("::1", "RAY_ADDRESS=HOST:6379."),
        ("[::1", "RAY_ADDRESS=HOST:6379."),
        (" 127.0.0.1:6379", ":6379."),
        ("127.0.0.1:6379\n", ":6379."),
        ("redis://127.0.0.1:6379", "RAY_ADDRESS=127.0.0.1:6379."),
        ("Auto", "RAY_ADDRESS=auto:6379."),
        ("127.0.0.1:6379/", "RAY_ADDRESS=127.0.0.1:6379."),
        (":6379", "RAY_ADDRESS=HOST:6379."),
    ],
)
def test_another_form_is_refused_with_the_nearest_that_is_right(
    value: str, right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refusal(monkeypatch, value)
    assert "write host:port of its head" in message
    assert right in message


def test_a_dashboards_address_is_told_what_it_is_good_for_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refusal(monkeypatch, "http://ann:S3CRET@head:8265")
    assert "`ray job submit --address http://head:8265 --working-dir . -- python jobs/sweep.py RECIPE`" in message
    assert "S3CRET" not in message


@pytest.mark.parametrize("prefix", ["", "ray://"])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "timed out|nothing within"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something listens there that is no Ray"),
        (b"-ERR unknown command\r\n", "something listens there that is no Ray"),
    ],
)
def test_what_listens_and_is_no_ray_is_told_in_seconds(
    answer: bytes | None, reason: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "SECONDS", 0.5)
    with listening(answer) as port:
        message = refusal(monkeypatch, f"{prefix}127.0.0.1:{port}")
    assert any(one in message for one in reason.split("|"))


@pytest.mark.parametrize("value", ["127.0.0.1", "localhost", "[::1]", "ray://127.0.0.1"])
def test_where_nobody_listens_is_told_at_once(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = time.monotonic()
    assert "does not answer (" in refusal(monkeypatch, f"{value}:{free_port()}")
    assert time.monotonic() - start < address.SECONDS + 1


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 64, "bü..cher", "256.1.1.1"])
def test_a_host_that_there_is_not_is_told(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"RAY_ADDRESS={host}:6379 does not answer (" in refusal(monkeypatch, f"{host}:6379")


def test_a_search_for_a_host_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "SECONDS", 0.2)
    over = threading.Event()

    def search(*_: object, **__: object) -> socket.socket:
        over.wait(10)
        raise OSError("not there")

    monkeypatch.setattr(socket, "create_connection", search)
    assert "(nothing within 0.2 s)" in refusal(monkeypatch, "head:6379")
    over.set()


@pytest.mark.parametrize("value", ["127.0.0.1:{}", "localhost:{}", "ray://127.0.0.1:{}"])
def test_what_greets_as_a_ray_does_is_taken(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(GRPC) as port:
        monkeypatch.setenv("RAY_ADDRESS", value.format(port))
        check_address()


@pytest.mark.parametrize("value", ["", "local", None])
def test_no_address_asks_nobody(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if value is not None:
        monkeypatch.setenv("RAY_ADDRESS", value)
    assert named_address() is None
    check_address()


def test_a_dead_address_ends_the_job_before_anything_is_prepared_and_the_advice_helps(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(recipe), "tasks=[tiny_recall]", "methods=[lora]", "seeds=[0]", "champions=false", "tracking.uri=none"]
    for value in (f"127.0.0.1:{free_port()}", "http://127.0.0.1:8265"):
        monkeypatch.setenv("RAY_ADDRESS", value)
        start = time.monotonic()
        assert run_job("sweep", "test", jobs.sweep.main, [*words, "cluster.kind=ray"]) == 2
        assert time.monotonic() - start < 10
        told = capsys.readouterr().err
        assert told.startswith("RAY_ADDRESS=")
        assert "or take cluster.kind=local" in told
        assert not (recipe.parent / "sweeps" / ".cache").exists()
    assert run_job("sweep", "test", jobs.sweep.main, [*words, "cluster.kind=local"]) == 0


def test_a_ray_of_this_driver_leaves_the_users_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What names another cluster is away while it runs, its own dashboard needs no proxy, and all comes back."""
    for name in SET_HERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://another:8265")
    monkeypatch.setenv("RAY_REDIS_ADDRESS", "another:6379")
    monkeypatch.setenv("NO_PROXY", "example.org")
    before = dict(os.environ)
    session = Session(None, {name: os.environ[name] for name in SET_HERE if name in os.environ})
    leave_other_clusters()
    assert not {"RAY_API_SERVER_ADDRESS", "RAY_REDIS_ADDRESS"} & set(os.environ)
    assert os.environ["NO_PROXY"] == "example.org,127.0.0.1,localhost"
    assert os.environ["no_proxy"] == "127.0.0.1,localhost"
    os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # as the Ray that has started is named
    session.restore_environment()
    assert dict(os.environ) == before
