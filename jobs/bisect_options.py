"""The options of ``jobs/nightly.py`` that look for the change which made a cell worse."""

from __future__ import annotations

import argparse
from typing import Any

import yaml

from orchestrator.errors import InputError
from orchestrator.nightly.bisect.asked import Asked

NAMES = ("bisect", "python", "settings", "cell")


def add_bisect_options(parser: argparse.ArgumentParser) -> None:
    """Add the options; `asked_of` reads them. Options with several values come last on a command line."""
    group = parser.add_argument_group("find the change", "one of these instead of a night, each from good to bad")
    group.add_argument("--bisect", metavar="GOOD..BAD", help="commits of this project, the good one first")
    group.add_argument("--python", nargs="+", metavar="PYTHON", help="interpreters of environments that you have made")
    group.add_argument("--settings", nargs="+", metavar="YAML", help="settings of the method, such as '{rank: 4}'")
    group.add_argument("--cell", metavar="TASK/METHOD", help="the cell; by default the culprit of the newest bad night")


def asked_of(options: dict[str, Any]) -> Asked | None:
    """Take the options out of ``options``; None if they ask for no bisection. InputError if they contradict."""
    bisect, python, settings, cell = (options.pop(name, None) for name in NAMES)
    if not (bisect or python or settings):
        if cell:
            raise InputError(f"--cell {cell} belongs to --bisect, --python or --settings: give one of them too.")
        return None
    return Asked(bisect, tuple(python or ()), tuple(map(_mapping, settings or ())), cell).checked()


def _mapping(text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(f"--settings {text}: give keys and values of the method, for example '{{rank: 4, alpha: 8}}'.")
    return content
