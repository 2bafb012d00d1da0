"""Files of `ray up` for tests: those that ship, and what spoils them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from tests.helpers.places import ROOT

Config = dict[str, Any]
Spoil = Callable[[Config], object]
SHIPPED = ("cluster.yaml", "deploy/gcp.yaml", "deploy/local.yaml")


def shipped(name: str = "cluster.yaml") -> Config:
    """Return the content of a file that ships, without parts that several places share."""
    config = yaml.safe_load((ROOT / name).read_text())
    assert isinstance(config, dict)
    copied = _unshared(config)
    assert isinstance(copied, dict)
    return copied


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(below) for key, below in value.items()}
    return [_unshared(below) for below in value] if isinstance(value, list) else value


def node(config: Config, kind: str = "gpu") -> Config:
    """Return the node_config of a type."""
    node_config = config["available_node_types"][kind]["node_config"]
    assert isinstance(node_config, dict)
    return node_config


def replace(place: str, old: str, new: str) -> Spoil:
    """Return a function that replaces a text in each command of a list, and fails if no command has the text."""

    def change(config: Config) -> None:
        before = list(config[place])
        config[place] = [command.replace(old, new) for command in before]
        assert config[place] != before

    return change


def add(place: str, command: str) -> Spoil:
    """Return a function that appends a command to a list."""
    return lambda config: config.setdefault(place, []).append(command)
