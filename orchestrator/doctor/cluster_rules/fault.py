"""A fault of a cluster file: its place, what is wrong and the remedy; and ways to walk through such a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """One fault. ``kind`` is "unset" for a placeholder that a user has to replace, and "wrong" for any other fault."""

    place: str
    what: str
    remedy: str
    kind: Literal["wrong", "unset"] = "wrong"

    def __str__(self) -> str:
        return f"{self.place}: {self.what}. {self.remedy}"


def section(config: Any, *keys: str) -> Config:
    """Return the mapping below ``keys``; an empty mapping if it is missing or has another form."""
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else {}


def entries(config: Any, key: str) -> list[Config]:
    """Return the mappings in the list ``key``; none if the list is missing or has another form."""
    value = config.get(key) if isinstance(config, Mapping) else None
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def provider(config: Config) -> str:
    """Return the name of the provider: aws, gcp, local or another."""
    return str(section(config, "provider").get("type"))


def node_types(config: Config) -> dict[str, Config]:
    """Return the node types by name."""
    return {str(name): section(kind) for name, kind in section(config, "available_node_types").items()}


def commands(config: Config, *lists: str) -> list[tuple[str, str]]:
    """Return place and text of each command in these lists; a command of several lines as one line."""
    return [
        (f"{name}[{number}]", " ".join(str(command).split()))
        for name in lists
        if isinstance(config.get(name), list)
        for number, command in enumerate(config[name])
    ]


def texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield place and text of each string in a configuration, the keys of mappings included."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            here = f"{place}.{key}" if place else str(key)
            yield here, str(key)
            yield from texts(below, here)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from texts(below, f"{place}[{number}]")
    elif isinstance(value, str):
        yield place, value
