"""The environment variables that a recipe gives its trainers: names and values that may be shown to everybody."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from orchestrator.addresses import without_secrets

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
SECRET = re.compile(
    r"TOKEN(?!IZERS)|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(API|ACCESS|PRIVATE|SIGNING)_?KEY|(^|_)AUTH($|_)"
    r"|(^|_)(KEY|PAT|PWD|PASS)$",
    re.IGNORECASE,
)
"""Names that look like a secret. Ray shows the environment of a job to all who may list jobs."""
SECRET_VALUE = re.compile(r"\b(hf_|gh[pousr]_|sk-)[A-Za-z0-9]{20}|\b(AKIA|ASIA)[0-9A-Z]{16}\b|BEGIN [A-Z ]*PRIVATE KEY")
"""Values that are a key of the hub, of GitHub, of Amazon or of another service, whatever their name."""
SET_HERE = {
    "OMP_NUM_THREADS": "cluster.cpus_per_worker decides it",
    "CUDA_VISIBLE_DEVICES": "Ray gives each worker its GPU",
    "HF_HUB_OFFLINE": "trainers ask no hub: the driver fetches base and rows",
    "CUBLAS_WORKSPACE_CONFIG": "engine.deterministic decides it",
}
MOST, LONGEST = 100, 4096


def checked(env: Any) -> Any:
    """Return the variables with their values as text; ValueError with a refused name and the remedy."""
    if not isinstance(env, dict):
        return env
    if len(env) > MOST:
        raise ValueError(f"{len(env)} variables are more than {MOST}: set them where the nodes start.")
    return {name: _value(name, value) for name, value in env.items()}


def _value(name: Any, value: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{str(name)[:80]!r} is no name of a variable: write letters, digits and _.")
    if SECRET.search(name) or SECRET_VALUE.search(str(value)):
        raise ValueError(
            f"{name} looks like a secret, and a recipe is kept in sweep.json and shown by Ray: leave it out, and "
            "export it where the driver starts (a trainer on another node: where that node starts)."
        )
    if name in SET_HERE or name.startswith("RAY_"):
        raise ValueError(f"{name} is set for trainers: {SET_HERE.get(name, 'it is of Ray')}. Leave it out.")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{name} holds {str(value)[:80]!r}, which is no text: write it in quotes.")
    text = str(value)
    if len(text) > LONGEST or "\0" in text:
        raise ValueError(f"{name} holds {len(text):,} characters: write at most {LONGEST:,}, and no zero byte.")
    if without_secrets(text) != text:
        raise ValueError(f"{name} holds an address with a password or a query: leave it out, and export it.")
    return text


Variables = Annotated[dict[str, str], BeforeValidator(checked)]
