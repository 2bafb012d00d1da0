"""The scorecard of a run of fault tests: how often was struck, and what was lost, doubled, detected or left behind."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

LIBRARIES = ("torch", "ray", "deepspeed", "mlflow", "safetensors")


@dataclass
class Scorecard:
    """Counts over all fault tests of one run.

    ``kills`` are processes ended by SIGKILL at an instant that the test has drawn, ``failures`` system calls and
    requests that failed. ``lost`` are runs, checkpoints or commits that were there and are not, ``doubled`` runs that
    were trained or shown twice. ``orphans`` are processes, files and folders that outlive their sweep.
    ``safetensors_detected`` of ``safetensors_flips`` flipped bits in tensor files are errors to safetensors alone.
    ``recoveries`` are the seconds from a kill to the next training step.
    """

    kills: int = 0
    failures: int = 0
    lost: int = 0
    doubled: int = 0
    corruptions: int = 0
    detected: int = 0
    safetensors_flips: int = 0
    safetensors_detected: int = 0
    orphans: int = 0
    hostile_inputs: int = 0
    tracebacks: int = 0
    recoveries: list[float] = field(default_factory=list)
    seeds: set[int] = field(default_factory=set)

    def hostile(self, outcomes: Sequence[tuple[str, list[str], str]]) -> None:
        """Count hostile inputs; each is its name, what is wrong with its refusal, and the refusal."""
        self.hostile_inputs += len(outcomes)
        self.tracebacks += sum(rule.startswith("a traceback") for _, wrong, _ in outcomes for rule in wrong)

    def written(self, file: Path) -> str:
        """Write the card as JSON, and return it as lines of text."""
        card = asdict(self) | {"seeds": sorted(self.seeds)}
        recoveries = card.pop("recoveries")
        card |= {
            "worst_recovery_seconds": round(max(recoveries, default=0.0), 1),
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
            "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        }
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(card, indent=1) + "\n")
        return "\n".join(f"{name:>24}: {value}" for name, value in card.items())


CARD = Scorecard()
"""The counts to which all fault tests of a run add."""
