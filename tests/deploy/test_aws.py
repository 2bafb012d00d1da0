"""cluster.yaml on EC2 as moto plays it: Ray's provider asks for what the file says, and opens no door of its own."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from deploy import aws_setup
from tests.helpers.cluster.cluster_files import Config, node, shipped
from tests.helpers.cluster.ec2 import REGION, Cloud

pytestmark = [pytest.mark.slow, pytest.mark.rare]
RANGE = "10.9.8.7/32"
KINDS = {"ray-launch-config": "x", "ray-user-node-type": "gpu"}


def set_up(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> Config:
    """Make group and profiles as the head of the file says, and write what is printed into the file."""
    words = ["--region", REGION, "--subnet", cloud.subnet, "--ssh-from", RANGE, "--bucket", "my-sweeps"]
    assert aws_setup.main(words) == 0
    group, head, worker = capsys.readouterr().out.splitlines()
    config = shipped()
    image = cloud.ec2.register_image(Name="baked", RootDeviceName="/dev/sda1")["ImageId"]
    for kind, profile in (("head", head), ("gpu", worker)):
        arn = profile.partition("{Arn: ")[2].rstrip("}")
        set_here = {"ImageId": image, "SubnetIds": [cloud.subnet], "IamInstanceProfile": {"Arn": arn}}
        node(config, kind).update(set_here, SecurityGroupIds=[group.partition("[")[2].rstrip("]")])
    return config


def bootstrapped(config: Config) -> dict[str, Any]:
    from ray.autoscaler._private.aws import config as ray_aws
    from ray.autoscaler._private.util import prepare_config

    ray_aws._get_subnets_or_die.cache_clear()
    complete = ray_aws.bootstrap_aws(prepare_config(config))
    assert isinstance(complete, dict)
    return complete


def launched(complete: dict[str, Any], kind: str) -> Any:
    """Let Ray's provider start one machine of a type; return the provider and the machine's id."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider = AWSNodeProvider(complete["provider"], complete["cluster_name"])
    tags = {"ray-node-type": "head" if kind == "head" else "worker", "ray-user-node-type": kind}
    tags |= {"ray-launch-config": "x", "ray-node-name": kind, "ray-node-status": "uninitialized"}
    made = provider.create_node(complete["available_node_types"][kind]["node_config"], tags, 1)
    return provider, next(iter(made))


def test_the_group_admits_ssh_from_one_range_and_ray_leaves_it_so(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    complete = bootstrapped(set_up(cloud, capsys))
    groups = {
        group
        for kind in ("head", "gpu")
        for group in complete["available_node_types"][kind]["node_config"]["SecurityGroupIds"]
    }
    (group,) = groups
    assert cloud.ssh_ranges(group) == {RANGE}
    between, ssh = sorted(cloud.rules(group), key=lambda rule: rule["IpProtocol"])
    assert [pair["GroupId"] for pair in between["UserIdGroupPairs"]] == [group]
    assert (ssh["FromPort"], ssh["ToPort"]) == (22, 22)
    assert (
        len(
            cloud.ec2.describe_security_groups(Filters=[{"Name": "tag-key", "Values": ["ray-autoscaler"]}])[
                "SecurityGroups"
            ]
        )
        == 0
    )


def test_a_group_that_ray_makes_is_open_to_the_world_whatever_the_file_says(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    config = set_up(cloud, capsys)
    ssh = {"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp", "IpRanges": [{"CidrIp": RANGE}]}
    config["provider"]["security_group"] = {"GroupName": "ours", "IpPermissions": [ssh]}
    for kind in ("head", "gpu"):
        del node(config, kind)["SecurityGroupIds"]
    (group,) = bootstrapped(config)["available_node_types"]["gpu"]["node_config"]["SecurityGroupIds"]
    assert cloud.ssh_ranges(group) == {RANGE, "0.0.0.0/0"}  # why the rules refuse provider.security_group


def test_workers_are_asked_for_as_spot_and_the_head_is_not(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    complete = bootstrapped(set_up(cloud, capsys))
    launched(complete, "head")
    launched(complete, "gpu")
    head, worker = sorted(cloud.instances(), key=lambda one: "SpotInstanceRequestId" in one)
    assert (head["InstanceType"], worker["InstanceType"]) == ("m6i.xlarge", "g5.2xlarge")
    assert worker["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in head
    for machine, profile in ((head, "d2lora-head"), (worker, "d2lora-worker")):
        assert "PublicIpAddress" not in machine
        assert machine["SubnetId"] == cloud.subnet
        assert machine["IamInstanceProfile"]["Arn"].endswith(f"instance-profile/{profile}")
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        assert {"Key": "ray-cluster-name", "Value": "d2lora"} in machine["Tags"]


def test_the_request_for_a_worker_says_one_time_spot(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    complete = bootstrapped(set_up(cloud, capsys))
    provider, asked = AWSNodeProvider(complete["provider"], "d2lora"), []
    events = provider.ec2_fail_fast.meta.client.meta.events
    events.register("before-parameter-build.ec2.RunInstances", lambda params, **_: asked.append(dict(params)))
    provider.create_node(complete["available_node_types"]["gpu"]["node_config"], {"ray-node-type": "worker"} | KINDS, 2)
    options = asked[0]["InstanceMarketOptions"]
    assert options["MarketType"] == "spot"
    assert options["SpotOptions"] == {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}
    assert (asked[0]["MinCount"], asked[0]["MaxCount"]) == (1, 2)


def test_ray_down_stops_the_head_with_its_disk_and_ends_the_workers(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """EC2 gives a machine of a spot request the request's id; moto does not, so the test says which machine has one."""
    complete = bootstrapped(set_up(cloud, capsys))
    _, head = launched(complete, "head")
    provider, worker = launched(complete, "gpu")
    provider.non_terminated_nodes({})
    monkeypatch.setattr(
        provider, "_get_cached_node", lambda node: SimpleNamespace(spot_instance_request_id=node == worker)
    )
    provider.terminate_nodes([head, worker])
    states = {machine["InstanceId"]: machine["State"]["Name"] for machine in cloud.instances()}
    assert states == {head: "stopped", worker: "terminated"}
    assert launched(complete, "head")[1] == head  # the next `ray up` starts the same machine again


def test_the_profiles_grant_the_bucket_and_the_machines_of_this_cluster_alone(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(cloud, capsys)
    policies = {
        name: cloud.iam.get_role_policy(RoleName=name, PolicyName="d2lora")["PolicyDocument"]["Statement"]
        for name in ("d2lora-head", "d2lora-worker")
    }
    assert "ec2:" not in json.dumps(policies["d2lora-worker"])
    for statements in policies.values():
        for statement in statements:
            assert "*" not in statement["Action"]
            assert all(action.split(":")[1] != "*" for action in statement["Action"])
            if statement["Action"][0].startswith("s3:"):
                assert all(":my-sweeps" in place for place in statement["Resource"])
    assert {"iam:PassRole"} == {
        action for one in policies["d2lora-head"] for action in one["Action"] if action.startswith("iam:")
    }


def test_a_second_call_makes_nothing_twice_and_another_range_is_refused(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--region", REGION, "--subnet", cloud.subnet, "--bucket", "my-sweeps", "--ssh-from"]
    assert aws_setup.main([*words, RANGE]) == 0
    first = capsys.readouterr().out
    assert aws_setup.main([*words, RANGE]) == 0
    assert capsys.readouterr().out == first
    assert aws_setup.main([*words, "10.1.1.1/32"]) == 2
    assert f"tcp 22 22 {RANGE}]: delete it, or give another --name" in capsys.readouterr().err
    assert aws_setup.main([*words, "10.1.1.1/32", "--name", "other"]) == 0


def test_a_subnet_that_is_not_there_is_refused_before_a_machine_starts(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    config = set_up(cloud, capsys)
    node(config)["SubnetIds"] = ["subnet-0123456789abcdef0"]
    with pytest.raises(AssertionError):
        bootstrapped(config)
    assert "Not all subnet IDs found: ('subnet-0123456789abcdef0',)" in "".join(capsys.readouterr())
    assert cloud.instances() == []
