"""Rules of the machines: a fixed image, a role of little power, disks in cipher, and an end to idle ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from orchestrator.doctor.cluster_rules.fault import Config, Fault, commands, entries, node_types, provider, section

IDLE_MINUTES = 60
IMAGE = re.compile(r"ami-[0-9a-f]{8,17}|resolve:ssm:[\w/.-]+:\d+")
NO_STANDARD_DISK = ("g2-", "a3-", "c3-", "h3-")
"""How machine types of Google Cloud begin that take no disk of the type pd-standard."""
FULL = re.compile(r"Action['\"]?: ['\"]?\*|FullAccess|roles/(?:owner|editor)\b")


def nodes(config: Config) -> Iterator[Fault]:
    """Yield what is wrong with the types of nodes."""
    for name, node in node_types(config).items():
        place, settings = f"available_node_types.{name}.node_config", section(node, "node_config")
        if provider(config) == "aws":
            yield from _aws(settings, place)
        if provider(config) == "gcp":
            yield from _gcp(settings, place)
        if FULL.search(str(settings)):
            yield Fault(place, "a role with full access (a wildcard)", "Grant the calls that the node needs, no more")
    if provider(config) in ("aws", "gcp"):
        yield from _head(config)
        yield from _idle(config)
    yield from _containers(config)


def _aws(node: Config, place: str) -> Iterator[Fault]:
    if not IMAGE.fullmatch(str(node.get("ImageId", ""))):
        what = f"ImageId {node.get('ImageId')!r} is a mutable image: other nodes tomorrow"
        yield Fault(place, what, "Name the image by its ami-... identifier")
    if not section(node, "IamInstanceProfile").get("Arn"):
        what = "no profile: Ray gives the head one with full access to EC2 and S3"
        yield Fault(
            place, what, "Name a profile as IamInstanceProfile: {Arn: ...}; `python deploy/aws_setup.py` makes both"
        )
    if section(node, "MetadataOptions").get("HttpTokens") != "required":
        what = "metadata without a token, so a page that a job fetches can read the node's keys"
        yield Fault(place, what, "Set MetadataOptions: {HttpTokens: required, HttpPutResponseHopLimit: 1}")
    disks = entries(node, "BlockDeviceMappings")
    if not disks or not all(section(disk, "Ebs").get("Encrypted") for disk in disks):
        yield Fault(place, "a disk in the clear", "Set Encrypted: true in every BlockDeviceMappings[].Ebs")


def _gcp(node: Config, place: str) -> Iterator[Fault]:
    images = [str(section(disk, "initializeParams").get("sourceImage", "")) for disk in entries(node, "disks")]
    if not images or any("/images/family/" in image or not image for image in images):
        what = f"sourceImage {', '.join(images) or 'missing'} is a mutable image: other nodes tomorrow"
        yield Fault(place, what, "Name one image: projects/.../global/images/NAME, not a family")
    machine = str(node.get("machineType", "")).rpartition("/")[2]
    kinds = [str(section(disk, "initializeParams").get("diskType", "")) for disk in entries(node, "disks")]
    if machine.startswith(NO_STANDARD_DISK) and not all(kind and "pd-standard" not in kind for kind in kinds):
        what = f"{machine} starts from no disk of the type pd-standard, which a disk without diskType has"
        yield Fault(place, what, "Name it in initializeParams: diskType: zones/ZONE/diskTypes/pd-balanced")
    if not entries(node, "serviceAccounts"):
        what = "no service account: the node has that of the project, or Ray's own with compute.admin"
        yield Fault(place, what, "Name an account of your own as serviceAccounts: [{email: ..., scopes: [...]}]")


def _head(config: Config) -> Iterator[Fault]:
    name = str(config.get("head_node_type"))
    head, place = node_types(config).get(name), f"available_node_types.{name}"
    if head is None:
        yield Fault("head_node_type", f"{name!r} is not among available_node_types", "Name one of them")
        return
    resources = section(head, "resources")
    if resources.get("CPU") != 0 or resources.get("GPU", 0) != 0:
        what = "trials may run on the head, and a head without memory ends the cluster"
        yield Fault(f"{place}.resources", what, "Set resources: {CPU: 0, GPU: 0}")
    if is_spot(section(head, "node_config")):
        what = "the head is a spot machine: when it is reclaimed, the sweep's driver and MLflow end with it"
        yield Fault(f"{place}.node_config", what, "Make the head on-demand; workers may be spot")


def is_spot(node: Config) -> bool:
    """Return whether the provider may take the machine back at any time."""
    if section(node, "InstanceMarketOptions").get("MarketType") == "spot":
        return True
    scheduling: Any = node.get("scheduling") or {}
    options = scheduling if isinstance(scheduling, list) else [scheduling]  # Ray's example writes a list
    return any(section(one).get("preemptible") or section(one).get("provisioningModel") == "SPOT" for one in options)


def _idle(config: Config) -> Iterator[Fault]:
    minutes = config.get("idle_timeout_minutes")
    if not isinstance(minutes, (int, float)) or not 0 < minutes <= IDLE_MINUTES:
        what = f"idle_timeout_minutes is {minutes}: no idle shutdown within the hour"
        yield Fault("idle_timeout_minutes", what, "Set idle_timeout_minutes: 15")
    cached = section(config, "provider").get("cache_stopped_nodes", provider(config) == "aws")  # Ray's own defaults
    stops = [place for place, command in commands(config, "head_start_ray_commands") if "stop_when_idle" in command]
    if stops and not cached:
        what = "the head stops itself, and `ray up` makes another, without MLflow's database"
        yield Fault(stops[0], what, "Set provider.cache_stopped_nodes: true, with which it starts the same head again")
    for name, node in node_types(config).items():
        least, most = node.get("min_workers", 0), node.get("max_workers", config.get("max_workers", 0))
        if name != config.get("head_node_type") and least:
            what = f"min_workers {least} never go, so there is no idle shutdown for them"
            yield Fault(f"available_node_types.{name}", what, "Set min_workers: 0; a sweep asks for its nodes")
        if name != config.get("head_node_type") and not most:
            yield Fault(f"available_node_types.{name}", "no worker is ever started", "Set max_workers on both levels")


def _containers(config: Config) -> Iterator[Fault]:
    docker = section(config, "docker")
    places = [("docker", docker)]
    places += [
        (f"available_node_types.{name}.docker", section(node, "docker")) for name, node in node_types(config).items()
    ]
    for place, settings in places:
        for key in ("image", "head_image", "worker_image"):
            image = settings.get(key)
            if image and "@sha256:" not in str(image):
                what = f"{image} is a mutable image: a tag means other code tomorrow"
                yield Fault(f"{place}.{key}", what, "Name it by its digest: IMAGE@sha256:...")
