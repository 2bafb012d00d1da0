"""deploy/aws_setup.py refuses a wide range before it asks Amazon, and a group that admits more than one range."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.aws_setup import main, make_group, make_profile


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


GROUP, RANGE = "sg-1", "10.9.8.7/32"
BETWEEN = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": GROUP}]}
SSH = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22}
OURS = {**SSH, "IpRanges": [{"CidrIp": RANGE}]}


class Network:
    """EC2 with one group, whose rules a test gives."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.rules = list(rules)

    def describe_subnets(self, **_: Any) -> dict[str, Any]:
        return {"Subnets": [{"VpcId": "vpc-1"}]}

    def describe_security_groups(self, **_: Any) -> dict[str, Any]:
        return {"SecurityGroups": [{"GroupId": GROUP, "IpPermissions": self.rules}]}


def test_a_group_with_our_two_rules_is_taken_over() -> None:
    assert make_group(Network(BETWEEN, OURS), "subnet-1", "d2lora", RANGE) == GROUP


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({**SSH, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}, "tcp 22 22 ::/0"),
        ({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}, "-1 0.0.0.0/0"),
        ({"IpProtocol": "tcp", "FromPort": 0, "ToPort": 65535, "IpRanges": [{"CidrIp": RANGE}]}, "tcp 0 65535"),
        ({**SSH, "UserIdGroupPairs": [{"GroupId": "sg-other"}]}, "tcp 22 22 sg-other"),
        ({**SSH, "PrefixListIds": [{"PrefixListId": "pl-1"}]}, "tcp 22 22 pl-1"),
    ],
)
def test_a_group_that_admits_anybody_else_is_refused_whichever_way(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="delete it, or give another --name") as refused:
        make_group(Network(BETWEEN, OURS, more), "subnet-1", "d2lora", RANGE)
    assert said in str(refused.value)


def test_a_profile_whose_making_was_broken_off_gets_its_role() -> None:
    class ThereError(Exception):
        pass

    class Roles:
        exceptions = type("Errors", (), {"EntityAlreadyExistsException": ThereError})

        def __init__(self) -> None:
            self.added: list[str] = []

        def __getattr__(self, name: str) -> Any:
            def call(**given: Any) -> Any:
                if name.startswith("create_"):
                    raise ThereError
                if name.startswith("add_role"):
                    self.added.append(given["RoleName"])
                return {"Role": {"Arn": "role"}, "InstanceProfile": {"Arn": "profile", "Roles": []}}

            return call

    roles = Roles()
    assert make_profile(roles, "d2lora-head", []) == ("profile", "role")
    assert roles.added == ["d2lora-head"]


def test_what_amazon_refuses_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from botocore.exceptions import NoCredentialsError

    def refuse(*_: Any, **__: Any) -> None:
        raise NoCredentialsError

    monkeypatch.setattr(boto3, "client", refuse)
    words = ["--region", "us-east-1", "--subnet", "subnet-1", "--bucket", "b", "--ssh-from", RANGE]
    assert main(words) == 1
    assert "Amazon refuses: Unable to locate credentials" in capsys.readouterr().err
