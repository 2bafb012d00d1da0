"""Telling: once, signed, tried again, and never an error of the night."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.nightly.message import message_of
from orchestrator.nightly.tell import Told, tell
from orchestrator.nightly.telling.webhook import Patience
from orchestrator.recipe.nightly_section import TellSpec
from tests.helpers.nights import bad_night
from tests.helpers.webhooks import Webhook, webhook

SHORT = Patience(connect=1.0, answer=0.2, total=2.0, pause=0.01, longest=0.05)
SECRET = "a secret of ours"
MESSAGE = message_of(bad_night(), "/data/sweeps/quickstart/nights")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def said() -> list[str]:
    return []


def told_to(hook: Webhook | str, folder: Path, said: list[str], spec: TellSpec | None = None, **other: str) -> Told:
    address = hook if isinstance(hook, str) else hook.address
    environment = {"NIGHTLY_WEBHOOK_URL": address, "NIGHTLY_WEBHOOK_SECRET": SECRET} | other
    return tell(spec or TellSpec(), MESSAGE, folder, said.append, environment, SHORT)


def test_one_message_arrives_and_is_signed_over_its_id_its_time_and_its_body(tmp_path: Path, said: list[str]) -> None:
    with webhook() as hook:
        told = told_to(hook, tmp_path, said)
    ((headers, body),) = hook.got
    assert (told.status, told.attempts, told.problem, told.again) == ("told", 1, None, False)
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    own = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{own}"
    assert headers["webhook-id"] == headers["idempotency-key"] == MESSAGE.id == json.loads(body)["id"]
    assert said == []


def test_a_message_that_was_told_is_not_told_again(tmp_path: Path, said: list[str]) -> None:
    with webhook() as hook:
        assert told_to(hook, tmp_path, said) == told_to(hook, tmp_path, said)
    assert len(hook.got) == 1


@pytest.mark.parametrize("answer", [500, 503, 429, 408])
def test_a_server_that_fails_is_asked_again_under_the_same_id(answer: int, tmp_path: Path, said: list[str]) -> None:
    with webhook(answer, answer) as hook:
        told = told_to(hook, tmp_path, said)
    assert (told.status, told.attempts) == ("told", 3)
    assert {headers["webhook-id"] for headers, _ in hook.got} == {MESSAGE.id}
    assert len({body for _, body in hook.got}) == 1


def test_a_server_that_hangs_is_given_up_in_time_and_may_answer_the_next_attempt(
    tmp_path: Path, said: list[str]
) -> None:
    with webhook(0) as hook:
        told = told_to(hook, tmp_path, said)
    assert (told.status, told.attempts) == ("told", 2)
    with webhook(*[0] * 50) as hook:
        told = told_to(hook, tmp_path / "other", said)
    assert (told.status, told.problem) == ("failed", f"{told.to}: no answer within 0.2 s")
    assert 2 < told.attempts < 15


def test_a_server_may_ask_for_a_longer_pause_but_not_for_longer_than_there_is(tmp_path: Path, said: list[str]) -> None:
    with webhook(503, headers={"Retry-After": "900"}) as hook:
        told = told_to(hook, tmp_path, said)
    assert (told.status, told.attempts) == ("failed", 1)


@pytest.mark.parametrize("answer", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(answer: int, tmp_path: Path, said: list[str]) -> None:
    with webhook() as elsewhere, webhook(answer, headers={"Location": elsewhere.address}) as hook:
        told = told_to(hook, tmp_path, said)
    assert (told.status, told.attempts, len(hook.got), len(elsewhere.got)) == ("failed", 1, 1, 0)
    assert "which is not followed: name the final address" in (told.problem or "")


@pytest.mark.parametrize("answer", [400, 401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(answer: int, tmp_path: Path, said: list[str]) -> None:
    with webhook(answer) as hook:
        told = told_to(hook, tmp_path, said)
    assert (told.status, told.attempts) == ("failed", 1)
    assert said == [f"nobody was told of this night: {told.to}: it answers {answer}"]


def test_a_failed_message_is_tried_by_the_next_start(tmp_path: Path, said: list[str]) -> None:
    with webhook(403) as hook:
        assert told_to(hook, tmp_path, said).status == "failed"
        told = told_to(hook, tmp_path, said)
    assert (told.status, told.again, len(hook.got)) == ("told", False, 2)


def test_nothing_answers_at_the_address(tmp_path: Path, said: list[str]) -> None:
    told = told_to("http://127.0.0.1:1/hook", tmp_path, said)
    assert (told.status, told.problem) == ("failed", "http://127.0.0.1:1: no connection: Connection refused")
    assert told.attempts > 2


@pytest.mark.parametrize(
    "address", ["ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1:80", "http://", "http://host:port/", "http://[1/"]
)
def test_only_http_addresses_are_posted_to(address: str, tmp_path: Path, said: list[str]) -> None:
    told = told_to(address, tmp_path, said)
    assert (told.status, told.attempts) == ("nobody", 0)
    assert "$NIGHTLY_WEBHOOK_URL cannot be used: it is not http" in said[0]


@pytest.mark.parametrize("answers", [(200,), (403,), (0,) * 50, (301,)])
def test_neither_the_address_nor_the_secret_is_printed_or_kept(
    answers: tuple[int, ...], tmp_path: Path, said: list[str]
) -> None:
    with webhook(*answers) as hook:
        hook.address = hook.address.replace("http://", "http://ann:secret-word@")
        told = told_to(hook, tmp_path, said)
    shown = [*said, json.dumps(told.content()), *(file.read_text() for file in tmp_path.iterdir())]
    assert not re.search(f"secret|{SECRET}|ann", " ".join(shown))
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", told.to)


def test_an_address_with_a_secret_that_no_socket_can_open_is_not_printed_either(
    tmp_path: Path, said: list[str]
) -> None:
    told = told_to("https://hooks.invalid/services/secret-path", tmp_path, said)
    assert told.status == "failed"
    assert "secret" not in " ".join([*said, json.dumps(told.content())])


def test_without_a_secret_the_message_goes_unsigned_and_that_is_said(tmp_path: Path, said: list[str]) -> None:
    with webhook() as hook:
        told = told_to(hook, tmp_path, said, NIGHTLY_WEBHOOK_SECRET="")
    assert "webhook-signature" not in hook.got[0][0]
    assert said == [f"told {told.to}, but the message is not signed: $NIGHTLY_WEBHOOK_SECRET is not set"]


def test_a_secret_that_promises_base64_and_has_none_is_refused_before_anything_is_sent(
    tmp_path: Path, said: list[str]
) -> None:
    with webhook() as hook:
        told = told_to(hook, tmp_path, said, NIGHTLY_WEBHOOK_SECRET="whsec_not base64!")
    assert (told.status, hook.got) == ("nobody", [])


def test_without_an_address_nobody_is_told_and_the_remedy_is_said(tmp_path: Path, said: list[str]) -> None:
    assert told_to("", tmp_path, said).status == "nobody"
    assert "Export the address of a webhook, or give nightly.tell.command" in said[0]
    with webhook() as hook:
        assert told_to(hook, tmp_path, said).status == "told"  # the remedy, tried


def test_a_folder_that_cannot_be_written_to_does_not_keep_people_from_being_told(
    tmp_path: Path, said: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    with webhook() as hook:
        told = told_to(hook, tmp_path / "file", said)
    assert (told.status, len(hook.got)) == ("told", 1)
    assert "cannot be kept" in said[0]


def test_a_fault_of_our_own_is_said_and_raised_to_nobody(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Any:
        raise RuntimeError("secret")

    monkeypatch.setattr("orchestrator.nightly.telling.webhook.headers_of", fails)
    with webhook() as hook:
        told = told_to(hook, tmp_path, said)
    assert (told.status, "RuntimeError" in (told.problem or ""), "secret" in said[0]) == ("failed", True, False)


class TestProgram:
    """A program in place of a webhook."""

    def told(self, code: str, folder: Path, said: list[str]) -> Told:
        return told_to("http://127.0.0.1:1/", folder, said, TellSpec(command=[sys.executable, "-c", code]))

    def test_it_gets_the_message_on_its_standard_input(self, tmp_path: Path, said: list[str]) -> None:
        file = tmp_path / "got"
        told = self.told(f"import sys; open({str(file)!r}, 'wb').write(sys.stdin.buffer.read())", tmp_path, said)
        assert (told.status, told.attempts, said) == ("told", 1, [])
        assert file.read_bytes() == MESSAGE.body
        assert told.to == f"the program {Path(sys.executable).name}"

    def test_it_fails_with_the_last_line_that_it_says(self, tmp_path: Path, said: list[str]) -> None:
        code = f"import sys; sys.exit('first\\nno such channel at http://ann:word@host/ with {SECRET}')"
        told = self.told(code, tmp_path, said)
        assert (told.problem or "").endswith("it ended with 1: no such channel at http://host/ with ***")

    def test_it_is_ended_with_all_that_it_has_started_if_it_takes_too_long(
        self, tmp_path: Path, said: list[str]
    ) -> None:
        code = "import subprocess; print(subprocess.run(['sleep', '60']))"
        told = self.told(code, tmp_path, said)
        assert (told.problem or "").endswith("it was ended after 2 s")

    def test_a_program_that_is_not_there(self, tmp_path: Path, said: list[str]) -> None:
        told = told_to("", tmp_path, said, TellSpec(command=["/no/such/program", "--token=secret"]))
        assert told.problem == "the program program: it cannot be started: No such file or directory"


KILLED = """
import sys
from pathlib import Path
from orchestrator.nightly.tell import tell
from orchestrator.recipe.nightly_section import TellSpec
from tests.orchestrator.nightly.test_tell import MESSAGE
tell(TellSpec(), MESSAGE, Path(sys.argv[1]), print, {"NIGHTLY_WEBHOOK_URL": sys.argv[2]})
"""


@pytest.mark.slow
def test_a_night_that_is_killed_while_it_tells_tells_again_under_the_same_id_and_says_so(
    tmp_path: Path, said: list[str]
) -> None:
    with webhook(0) as hook:
        night = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), hook.address], env=os.environ)
        hook.before = lambda: os.kill(night.pid, signal.SIGKILL) if len(hook.got) == 1 else None
        assert night.wait(60) == -signal.SIGKILL
        told = told_to(hook, tmp_path, said)
        assert told_to(hook, tmp_path, said) == told
    assert (told.status, told.again, len(hook.got)) == ("told", True, 2)
    assert len({headers["idempotency-key"] for headers, _ in hook.got}) == 1
    assert "may have been told already, by a start that was killed" in said[0]
