"""Amazon's EC2 and IAM as moto plays them on this machine, with one private subnet, for Ray's own AWS provider."""

from __future__ import annotations

import logging
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.stores import Server

REGION = "us-east-1"


class Cloud:
    """Clients of the server, and the subnet."""

    def __init__(self) -> None:
        import boto3

        self.ec2, self.iam = boto3.client("ec2", region_name=REGION), boto3.client("iam", region_name=REGION)
        self.network = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2.create_subnet(VpcId=self.network, CidrBlock="10.0.1.0/24")
        self.subnet = str(subnet["Subnet"]["SubnetId"])

    def rules(self, group: str) -> list[dict[str, Any]]:
        """Return who is admitted to a security group."""
        (the_group,) = self.ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"]
        return list(the_group["IpPermissions"])

    def ssh_ranges(self, group: str) -> set[str]:
        """Return the ranges from which SSH is admitted."""
        return {one["CidrIp"] for rule in self.rules(group) for one in rule.get("IpRanges", [])}

    def instances(self) -> list[dict[str, Any]]:
        """Return all machines."""
        reservations = self.ec2.describe_instances()["Reservations"]
        return [instance for one in reservations for instance in one["Instances"]]


@pytest.fixture
def cloud(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """Return an empty cloud; keys that Ray makes lie in the test's folder."""
    for logger in ("botocore", "boto3"):
        logging.getLogger(logger).setLevel(logging.WARNING)
    import ray  # noqa: F401 - its import makes the logger's handler, which keeps the stream of the first test

    monkeypatch.setattr(logging.getLogger("ray"), "handlers", [])
    server.away.clear()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.address)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    reset = urllib.request.Request(f"{server.address}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset, timeout=10).close()
    return Cloud()
