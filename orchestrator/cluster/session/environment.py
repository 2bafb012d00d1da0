"""Pure: which environment variables of the driver travel to its trainers, and which a recipe adds."""

from __future__ import annotations

from collections.abc import Mapping

TRAVEL = ("NCCL_", "GLOO_", "TORCH_")
"""The beginnings of names that decide how ranks talk to each other, and what torch does."""
ALONE = ("HF_HOME",)


def for_trainers(environment: Mapping[str, str], recipe: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which trainers begin; those of the recipe win.

    A token does not travel: Ray lists the environment of a job, and trainers ask no hub.

    >>> for_trainers({"NCCL_DEBUG": "INFO", "HF_TOKEN": "hf_x", "HOME": "/root"}, {"NCCL_DEBUG": "WARN"})
    {'NCCL_DEBUG': 'WARN'}
    """
    own = {name: value for name, value in environment.items() if name.startswith(TRAVEL) or name in ALONE}
    return own | dict(recipe)
