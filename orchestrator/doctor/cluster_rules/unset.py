"""Placeholders of a shipped cluster file: values that each user has to replace."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.doctor.cluster_rules.fault import Config, Fault, texts

PLACEHOLDERS = {
    re.compile(r"\b(?:ami|subnet|sg|fs|vpc)-0{8,17}\b"): "the identifier of your own",
    re.compile(r"\barn:aws:iam::0{12}:[\w/+=,.@-]+"): "the ARN with the number of your account",
    re.compile(r"\b(?:192\.0\.2|198\.51\.100|203\.0\.113)\.\d{1,3}(?:/\d+)?\b"): "your own address",
    re.compile(r"\bSET-THIS[\w.-]*"): "your own value",
}


def unset(config: Config) -> Iterator[Fault]:
    """Yield a fault for each placeholder."""
    for place, text in texts(config):
        for pattern, instead in PLACEHOLDERS.items():
            for value in dict.fromkeys(pattern.findall(text)):
                yield Fault(place, f"{value} is a placeholder", f"Write {instead}", "unset")
