"""Make what cluster.yaml names and Ray would make too wide: a security group and two instance profiles, on AWS.

    python deploy/aws_setup.py --region us-east-1 --subnet subnet-... --ssh-from YOUR.ADDRESS/32 --bucket BUCKET

Ray adds SSH from 0.0.0.0/0 to every security group that it makes, whatever the file says, and gives the head full
access to EC2 and S3. The group here admits SSH from one range, and all traffic between its members. The head may start,
stop, tag and describe instances and pass the worker's role on; both profiles may read and write one bucket. A second
call makes nothing twice. It prints the lines for cluster.yaml; it needs boto3 and an account that may change EC2 and
IAM.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # import from this checkout, installed or not

from orchestrator.doctor.cluster_rules.network import fault_of_range

ASSUMED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
READ = ("Instances", "InstanceTypes", "Images", "Subnets", "SecurityGroups", "KeyPairs", "SpotInstanceRequests")


def bucket_statements(bucket: str) -> list[dict[str, Any]]:
    """Return what storage: s3://BUCKET/... needs."""
    objects = [f"s3:{call}" for call in ("GetObject", "PutObject", "DeleteObject", "AbortMultipartUpload")]
    return [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
        {"Effect": "Allow", "Action": objects, "Resource": [f"arn:aws:s3:::{bucket}/*"]},
    ]


def head_statements(worker_role: str, cluster: str) -> list[dict[str, Any]]:
    """Return what the autoscaler on the head needs: it ends and tags only machines with the tag of this cluster."""
    own = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": cluster}}
    end = [f"ec2:{call}" for call in ("TerminateInstances", "StopInstances", "StartInstances", "CreateTags")]
    made = {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    return [
        {"Effect": "Allow", "Action": [f"ec2:Describe{what}" for what in READ], "Resource": "*"},
        {"Effect": "Allow", "Action": ["ec2:RunInstances"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["ec2:CreateTags"], "Resource": "*", "Condition": made},
        {"Effect": "Allow", "Action": end, "Resource": "*", "Condition": own},
        {"Effect": "Allow", "Action": ["iam:PassRole"], "Resource": [worker_role]},
    ]


def make_group(ec2: Any, subnet: str, name: str, ssh_from: str) -> str:
    """Return the id of the group ``name`` in the subnet's network; ValueError if it is there with other rules."""
    vpc = ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [name]}]
    there = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
    if there:
        group = str(there[0]["GroupId"])
        admitted = admits(there[0]["IpPermissions"])
        if admitted != {("tcp", 22, 22, ssh_from), ("-1", None, None, group)}:
            words = [" ".join(str(word) for word in one if word is not None) for one in sorted(admitted, key=str)]
            raise ValueError(
                f"the group {name} is there and admits [{', '.join(words)}]: delete it, or give another --name"
            )
        return group
    group = str(ec2.create_security_group(GroupName=name, Description="Ray: SSH from one range", VpcId=vpc)["GroupId"])
    between = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    ranges = {"Ipv6Ranges": [{"CidrIpv6": ssh_from}]} if ":" in ssh_from else {"IpRanges": [{"CidrIp": ssh_from}]}
    ssh_rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[between, ssh_rule])
    return group


SOURCES = {
    "IpRanges": "CidrIp",
    "Ipv6Ranges": "CidrIpv6",
    "PrefixListIds": "PrefixListId",
    "UserIdGroupPairs": "GroupId",
}
"""Who a rule of a group may admit: the list in the rule, and the name of an entry of it."""


def admits(rules: list[dict[str, Any]]) -> set[tuple[str, int | None, int | None, str]]:
    """Return protocol, first port, last port and source of all that the rules admit; "-1" are all protocols."""
    return {
        (str(rule["IpProtocol"]), *_ports(rule), str(source[word]))
        for rule in rules
        for kind, word in SOURCES.items()
        for source in rule.get(kind, [])
    }


def _ports(rule: dict[str, Any]) -> tuple[int | None, int | None]:
    return (None, None) if rule["IpProtocol"] == "-1" else (rule.get("FromPort"), rule.get("ToPort"))


def make_profile(iam: Any, name: str, statements: list[dict[str, Any]]) -> tuple[str, str]:
    """Return the ARNs of the profile ``name`` and of its role, which has exactly these statements."""
    try:
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(ASSUMED))["Role"]["Arn"]
    except iam.exceptions.EntityAlreadyExistsException:
        role = iam.get_role(RoleName=name)["Role"]["Arn"]
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_role_policy(RoleName=name, PolicyName="d2lora", PolicyDocument=policy)
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_instance_profile(InstanceProfileName=name)
    profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    if not profile["Roles"]:  # new, or a call before was broken off
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return str(profile["Arn"]), str(role)


def main(argv: list[str] | None = None) -> int:
    """Make group and profiles, and print the lines for cluster.yaml; 2 for too wide a range, 1 if Amazon refuses."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for word in ("region", "subnet", "ssh-from", "bucket"):
        parser.add_argument(f"--{word}", required=True)
    parser.add_argument("--name", default="d2lora", help="the name of group and profiles: cluster_name in cluster.yaml")
    given = parser.parse_args(argv)
    if fault := fault_of_range(given.ssh_from):
        print(f"--ssh-from: {fault[0]}. {fault[1]}", file=sys.stderr)
        return 2
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        ec2, iam = boto3.client("ec2", region_name=given.region), boto3.client("iam", region_name=given.region)
        group = make_group(ec2, given.subnet, given.name, given.ssh_from)
        of_bucket = bucket_statements(given.bucket)
        worker, role = make_profile(iam, f"{given.name}-worker", of_bucket)
        head, _ = make_profile(iam, f"{given.name}-head", [*of_bucket, *head_statements(role, given.name)])
    except ValueError as error:
        print(f"{error}", file=sys.stderr)
        return 2
    except (BotoCoreError, ClientError) as error:  # no credentials, no such subnet, no right to make a role
        print(f"Amazon refuses: {error}. Mend it and give the same command: nothing is made twice.", file=sys.stderr)
        return 1
    print(f"SecurityGroupIds: [{group}]\nhead:   IamInstanceProfile: {{Arn: {head}}}")
    print(f"worker: IamInstanceProfile: {{Arn: {worker}}}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
