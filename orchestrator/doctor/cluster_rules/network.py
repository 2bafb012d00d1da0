"""Rules of who reaches the machines: private addresses, SSH from a narrow range, no other door."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from orchestrator.doctor.cluster_rules.fault import Config, Fault, entries, node_types, provider, section

NARROW = {4: 16, 6: 48}  # the shortest prefix that still counts as a range of one's own
CLOUDS = ("aws", "gcp")
OWN_GROUP = (
    "Make a group with `python deploy/aws_setup.py`, and name it as SecurityGroupIds in the node_config of every type"
)


def network(config: Config) -> Iterator[Fault]:
    """Yield what lets others reach the machines."""
    kind = provider(config)
    if kind in CLOUDS:
        yield from _addresses(config)
    if kind == "aws":
        yield from _groups(config)
    if kind == "local":
        yield from _hosts(section(config, "provider"))


def _addresses(config: Config) -> Iterator[Fault]:
    if section(config, "provider").get("use_internal_ips") is not True:
        remedy = "Set provider.use_internal_ips: true, and come by VPN, a bastion or Systems Manager"
        yield Fault("provider", "the nodes get public addresses", remedy)
    for name, node in node_types(config).items():
        place = f"available_node_types.{name}.node_config"
        aws = [one.get("AssociatePublicIpAddress") for one in entries(node.get("node_config"), "NetworkInterfaces")]
        gcp = [one.get("accessConfigs") for one in entries(node.get("node_config"), "networkInterfaces")]
        if any([*aws, *gcp]):
            yield Fault(
                place, "its interfaces get public addresses", "Remove AssociatePublicIpAddress or accessConfigs"
            )


def _groups(config: Config) -> Iterator[Fault]:
    """Yield what is wrong with security groups: Ray adds SSH from everywhere to a group that Ray itself makes."""
    group = section(config, "provider", "security_group")
    if group:
        what = "Ray makes this group and adds SSH from 0.0.0.0/0 to its rules, so it is open to the world"
        yield Fault("provider.security_group", what, OWN_GROUP)
        for number, permission in enumerate(entries(group, "IpPermissions")):
            yield from _permission(permission, f"provider.security_group.IpPermissions[{number}]")
    for name, node in node_types(config).items():
        settings = section(node, "node_config")
        own = settings.get("SecurityGroupIds") or [one.get("Groups") for one in entries(settings, "NetworkInterfaces")]
        if not own or not all(own):
            what = "no security group, so Ray makes one that is open to the world on port 22"
            yield Fault(f"available_node_types.{name}.node_config", what, OWN_GROUP)


def _permission(permission: Config, place: str) -> Iterator[Fault]:
    if (permission.get("FromPort"), permission.get("ToPort")) != (22, 22):
        remedy = "Admit port 22 alone: the dashboard comes through `ray dashboard`, over SSH"
        yield Fault(place, "a port beside SSH is open", remedy)
    ranges = [*entries(permission, "IpRanges"), *entries(permission, "Ipv6Ranges")]
    for one in ranges or [{}]:
        fault = fault_of_range(str(one.get("CidrIp") or one.get("CidrIpv6") or ""))
        if fault:
            yield Fault(place, *fault)


def fault_of_range(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a range from which SSH is admitted, and the remedy; None if it is narrow."""
    remedy = "Name where you come from, as narrow as it can be, for example ADDRESS/32"
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        return f"{text!r} is no range of addresses (no CIDR)", remedy
    if network.prefixlen < NARROW[network.version]:
        return f"{text} is open to the world", remedy
    return None


def _hosts(settings: Config) -> Iterator[Fault]:
    """Yield the machines of one's own that have an address of the internet."""
    for host in (settings.get("head_ip"), *(settings.get("worker_ips") or ())):
        try:
            public = ipaddress.ip_address(str(host)).is_global
        except ValueError:
            continue  # a name, which only its network can resolve
        if public:
            what = f"{host} is an address of the internet, and Ray listens on it"
            yield Fault("provider", what, "Name the private addresses of these machines")
