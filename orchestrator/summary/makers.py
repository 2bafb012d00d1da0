"""Whether the compared runs were made by different code, versions or devices, as a sentence for the claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.summary.schema import ResultRow
from orchestrator.wording import count, listed

UNKNOWN = "not recorded"


def mixed_makers(rows: Sequence[ResultRow]) -> list[str]:
    """Return a sentence per kind of maker that differs between committed runs: code, torch, device; else none."""
    committed = [row for row in rows if row["status"] == "committed"]
    makers = [[*(row.get("made_before") or []), row.get("made_by") or {}] for row in committed]
    kinds = {
        "versions of the code": [_then(_code(maker) for maker in each) for each in makers],
        "versions of torch": [
            _then(maker.get("versions", {}).get("torch", UNKNOWN) for maker in each) for each in makers
        ],
        "kinds of device": [_then(maker.get("device", UNKNOWN) for maker in each) for each in makers],
    }
    return [_sentence(kind, Counter(values)) for kind, values in kinds.items() if len(set(values)) > 1]


def _torch(maker: Mapping[str, Any]) -> str:
    return str(maker.get("versions", {}).get("torch", UNKNOWN))


def _then(values: Iterable[str]) -> str:
    """Return the makers of one run in their order, each once: ``H100 then H200``."""
    return " then ".join(dict.fromkeys(values))


def _code(maker: Mapping[str, Any]) -> str:
    if "code" not in maker:
        return UNKNOWN
    commit = (maker.get("commit") or "").partition(" ")[0][:10]
    return f"{maker['code']} (commit {commit})" if commit else str(maker["code"])


def _sentence(kind: str, values: Counter[str]) -> str:
    each = listed([f"{value}: {count(runs, 'run')}" for value, runs in values.most_common()])
    return (
        f"The compared runs were made by {len(values)} {kind} ({each}): a difference between methods may be a "
        "difference between makers. Delete the runs of one maker, and give the same command, which trains them anew."
    )
