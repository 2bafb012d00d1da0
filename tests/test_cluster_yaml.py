"""cluster.yaml: Ray takes it, and it opens, shares and trusts nothing that it should not."""

from __future__ import annotations

import copy
import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.helpers.places import ROOT

Config = dict[str, Any]
FILE = ROOT / "cluster.yaml"
TEXT = FILE.read_text()
SECRETS = re.compile(
    r"BEGIN [A-Z ]*PRIVATE KEY|\b(AKIA|ASIA)[0-9A-Z]{16}\b|aws_secret_access_key|RAY_AUTH_TOKEN=|hf_[A-Za-z0-9]{20}"
)


@pytest.fixture
def config() -> Config:
    loaded = yaml.safe_load(TEXT)
    assert isinstance(loaded, dict)
    return copy.deepcopy(loaded)  # anchors share nodes


def findings(config: Config) -> list[str]:
    """Return what is wrong with a configuration, one reason each."""
    return [*_network(config), *_nodes(config), *_commands(config), *_secrets(config)]


def _network(config: Config) -> Iterator[str]:
    provider = config["provider"]
    if provider.get("use_internal_ips") is not True:
        yield "public addresses"
    permissions = provider.get("security_group", {}).get("IpPermissions", [])
    if not permissions:
        yield "no CIDR"
    for permission in permissions:
        if (permission.get("FromPort"), permission.get("ToPort")) != (22, 22):
            yield "a port beside SSH"
        ranges = [one.get("CidrIp") or one.get("CidrIpv6") for one in _ranges(permission)]
        if not ranges or None in ranges:
            yield "no CIDR"
        if any(one and ipaddress.ip_network(one).prefixlen < 16 for one in ranges):
            yield "open to the world"


def _ranges(permission: Config) -> list[Config]:
    return [*permission.get("IpRanges", []), *permission.get("Ipv6Ranges", [])]


def _nodes(config: Config) -> Iterator[str]:
    for name, kind in config["available_node_types"].items():
        node = kind["node_config"]
        if not re.fullmatch(r"ami-[0-9a-f]{17}|resolve:ssm:[\w/.-]+:\d+", str(node.get("ImageId", ""))):
            yield f"{name}: mutable image"
        if any(one.get("AssociatePublicIpAddress") for one in node.get("NetworkInterfaces", [])):
            yield f"{name}: public addresses"
        if not node.get("IamInstanceProfile", {}).get("Arn"):
            yield f"{name}: no profile, so Ray makes one with full access"
        if node.get("MetadataOptions", {}).get("HttpTokens") != "required":
            yield f"{name}: metadata without a token"
        if not all(disk["Ebs"].get("Encrypted") for disk in node.get("BlockDeviceMappings", [{"Ebs": {}}])):
            yield f"{name}: disk in the clear"
    docker = config.get("docker") or {}
    for image in (docker.get("image"), docker.get("head_image"), docker.get("worker_image")):
        if image and "@sha256:" not in image:
            yield "mutable image"


def _commands(config: Config) -> Iterator[str]:
    for place in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [command for command in config[place] if "ray start" in command]
        if not starts or not all("RAY_AUTH_MODE=token" in command for command in starts):
            yield f"{place}: auth off"
        if "--head" in "".join(starts) and "--dashboard-host=127.0.0.1" not in "".join(starts):
            yield "dashboard beyond localhost"
    installs = " ".join(config["setup_commands"])
    if "pip install" in installs and "constraints.txt" not in installs:
        yield "versions are not pinned"
    if re.search(r"curl[^|;&]*\|\s*(sudo )?(ba)?sh", installs):
        yield "a script from the network is run"


def _secrets(config: Config) -> Iterator[str]:
    text = yaml.safe_dump(config)
    if SECRETS.search(text):
        yield "inline key"
    if re.search(r"Action['\"]?: ['\"]?\*|FullAccess", text):
        yield "wildcard IAM"


def test_the_shipped_file_passes(config: Config) -> None:
    assert findings(config) == []
    assert not SECRETS.search(TEXT)


def _permission(config: Config) -> Config:
    permission = config["provider"]["security_group"]["IpPermissions"][0]
    assert isinstance(permission, dict)
    return permission


def _node(config: Config, kind: str = "gpu") -> Config:
    node_config = config["available_node_types"][kind]["node_config"]
    assert isinstance(node_config, dict)
    return node_config


def _replace(place: str, old: str, new: str) -> Callable[[Config], object]:
    def change(config: Config) -> None:
        config[place] = [command.replace(old, new) for command in config[place]]

    return change


BAD: dict[str, tuple[str, Callable[[Config], object]]] = {
    "the world": ("open to the world", lambda c: _permission(c).update(IpRanges=[{"CidrIp": "0.0.0.0/0"}])),
    "half the world": ("open to the world", lambda c: _permission(c).update(IpRanges=[{"CidrIp": "128.0.0.0/1"}])),
    "the new world": ("open to the world", lambda c: _permission(c).update(Ipv6Ranges=[{"CidrIpv6": "::/0"}])),
    "no range": ("no CIDR", lambda c: _permission(c).pop("IpRanges")),
    "no group": ("no CIDR", lambda c: c["provider"].pop("security_group")),
    "the dashboard's port": ("a port beside SSH", lambda c: _permission(c).update(FromPort=8265, ToPort=8265)),
    "public addresses": ("public addresses", lambda c: c["provider"].update(use_internal_ips=False)),
    "a public interface": (
        "gpu: public addresses",
        lambda c: _node(c).update(NetworkInterfaces=[{"AssociatePublicIpAddress": True}]),
    ),
    "the latest image": ("gpu: mutable image", lambda c: _node(c).update(ImageId="latest_dlami")),
    "a parameter's latest": (
        "gpu: mutable image",
        lambda c: _node(c).update(ImageId="resolve:ssm:/aws/service/deeplearning/latest/ami-id"),
    ),
    "no image": ("head: mutable image", lambda c: _node(c, "head").pop("ImageId")),
    "an image's tag": ("mutable image", lambda c: c.update(docker={"image": "rayproject/ray:latest"})),
    "Ray's own role": ("head: no profile", lambda c: _node(c, "head").pop("IamInstanceProfile")),
    "old metadata": ("gpu: metadata", lambda c: _node(c).pop("MetadataOptions")),
    "a clear disk": ("gpu: disk", lambda c: _node(c)["BlockDeviceMappings"][0]["Ebs"].pop("Encrypted")),
    "auth off": ("auth off", _replace("head_start_ray_commands", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled")),
    "auth off at workers": ("auth off", _replace("worker_start_ray_commands", "RAY_AUTH_MODE=token ", "")),
    "an open dashboard": (
        "dashboard beyond localhost",
        _replace("head_start_ray_commands", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
    ),
    "a key": ("inline key", lambda c: c["setup_commands"].append("export AWS_ID=AKIA" + "A" * 16)),
    "a token": ("inline key", lambda c: c["setup_commands"].append("export RAY_AUTH_TOKEN=abc")),
    "any version": ("versions are not pinned", lambda c: c["setup_commands"].append("pip install d2lora")),
    "a foreign script": ("from the network", lambda c: c["setup_commands"].append("curl https://x.y/z | sh")),
}


@pytest.mark.parametrize("name", BAD)
def test_what_it_must_not_be_is_found(name: str, config: Config) -> None:
    reason, spoil = BAD[name]
    spoil(config)
    assert any(reason in finding for finding in findings(config)), findings(config)


def test_it_installs_this_checkout_and_leaves_out_what_it_makes(config: Config) -> None:
    code = next(there for there, here in config["file_mounts"].items() if here == ".")
    folder = code.replace("/home/ubuntu", "~")
    assert any(f"cd {folder} && make .venv/.installed" in command for command in config["setup_commands"])
    assert "-c constraints.txt" in (FILE.parent / "Makefile").read_text()
    assert {"**/.git/**", "**/.venv/**", "/sweeps", "/.cache"} <= set(config["rsync_exclude"])


def test_the_token_travels_as_a_file_that_only_its_owner_reads(config: Config) -> None:
    assert config["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]


def test_ray_accepts_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["head_node_type"] == "head"
    types = prepared["available_node_types"]
    assert types["gpu"]["max_workers"] <= prepared["max_workers"]
    assert types["gpu"]["min_workers"] >= 1  # a sweep takes the trainers that are there when it starts
    assert types["gpu"]["resources"]["GPU"] == 1


def test_ray_refuses_a_word_that_it_does_not_know(config: Config) -> None:
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(ValidationError, match="head_node_typ"):
        validate_config(prepare_config({**config, "head_node_typ": "head"}))
