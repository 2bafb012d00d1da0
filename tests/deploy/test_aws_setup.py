"""deploy/aws_setup.py refuses a wide range before it asks Amazon for anything."""

from __future__ import annotations

import pytest

from deploy.aws_setup import main


@pytest.mark.parametrize(
    ("given", "reason"),
    [("0.0.0.0/0", "open to the world"), ("10.0.0.0/8", "open to the world"), ("::/0", "open"), ("home", "no CIDR")],
)
def test_a_wide_range_is_refused(given: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--region", "us-east-1", "--subnet", "subnet-1", "--bucket", "b", "--ssh-from", given]
    assert main(words) == 2
    message = capsys.readouterr().err
    assert reason in message
    assert "as narrow as it can be" in message
