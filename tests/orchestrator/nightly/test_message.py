"""A message: what it says, its id, and the docs' own code that checks its signature."""

from __future__ import annotations

import json
import re

import pytest

from orchestrator.nightly.message import is_due, message_of
from orchestrator.nightly.telling.signature import headers_of
from tests.helpers.nights import bad_night, night
from tests.helpers.places import ROOT

PLACE = "s3://bucket/sweeps/quickstart/nights"


def test_it_has_verdict_culprit_links_and_markdown() -> None:
    content = json.loads(message_of(bad_night(), PLACE).body)
    assert content.keys() == {
        *("event", "id", "night", "name", "verdict", "line", "culprit", "links", "text", "markdown"),
    }
    assert (content["event"], content["verdict"], content["night"]) == ("night.worse", "worse", "2026-11-28")
    assert content["culprit"]["first_bad"] == "2026-11-28"
    assert content["links"]["page"] == f"{PLACE}/2026-11-28/index.html"
    assert content["markdown"].startswith("## quickstart, night of 2026-11-28: worse")
    assert "Culprit: d2lora on tiny_recall." in content["text"]
    assert "\n" not in content["text"]


def test_its_id_is_that_of_name_night_and_verdict_alone() -> None:
    one = message_of(night("worse"), PLACE).id
    assert one == message_of(night("worse", line="other words"), "/elsewhere").id
    others = [night("worse", "2026-11-29"), night("incomplete"), night("worse", name="2026-11-28") | {"name": "other"}]
    assert len({one, *(message_of(other, PLACE).id for other in others)}) == 4


def test_the_code_in_the_docs_tells_a_message_of_ours_from_others() -> None:
    pages = [file.read_text(encoding="utf-8") for file in sorted((ROOT / "docs").rglob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    (code,) = [block for block in blocks if "def is_genuine" in block]
    names: dict[str, object] = {}
    exec(code, names)
    is_genuine = names["is_genuine"]
    assert callable(is_genuine)
    message, now = message_of(bad_night(), PLACE), 1_795_000_000
    for secret in ("plain words", "whsec_c2VjcmV0"):
        headers = headers_of(message.id, now, message.body, secret)
        assert is_genuine(headers, message.body, secret, now + 5)
        assert not is_genuine(headers, message.body + b" ", secret, now)
        assert not is_genuine(headers | {"webhook-id": "other"}, message.body, secret, now)
        assert not is_genuine(headers, message.body, "another secret", now)
        assert not is_genuine(headers, message.body, secret, now + 3600)  # replayed


def test_a_secret_of_which_the_key_is_base64_signs_as_standard_webhooks_publishes_it() -> None:
    """The example of the specification's libraries (standard-webhooks/standard-webhooks, its tests)."""
    headers = headers_of(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_whose_rest_is_not_base64_is_refused() -> None:
    with pytest.raises(ValueError, match="what follows whsec_ is not base64"):
        headers_of("id", 1, b"", "whsec_%%%")


def test_text_from_outside_calls_nobody_in_a_chat() -> None:
    text = message_of(night("worse", line="<!channel> @everyone <https://evil|here>"), PLACE).content["text"]
    assert not re.search(r"<[!h]|@e", text)


def test_a_state_is_told_once_and_again_only_if_it_could_not_be_told() -> None:
    when = ["worse", "incomplete"]
    rows = [{"night": "2026-11-26", "verdict": "worse", "since": "2026-11-26", "told": {"status": "told"}}]
    assert not is_due(when, night("worse", since="2026-11-26"), rows)
    assert is_due(when, night("worse", since="2026-11-28"), rows)
    assert is_due(when, night("incomplete"), rows)
    assert not is_due(when, night("better"), rows)
    assert is_due(when, night("worse", since="2026-11-26"), [rows[0] | {"told": {"status": "failed"}}])
    assert not is_due(when, night("worse", since="2026-11-26"), [rows[0] | {"told": True}])
