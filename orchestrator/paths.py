"""Where relative places of a recipe are: in the working directory, unless that is a copy that Ray throws away."""

from __future__ import annotations

import os
from pathlib import Path

UPLOADED = "runtime_resources/working_dir_files"
HOME = "D2LORA_HOME"


def root() -> Path:
    """Return the folder that relative places start from.

    ``ray job submit --working-dir .`` runs the job in an uploaded copy that ends with the cluster; there it is
    ``$D2LORA_HOME``, by default ``~/d2lora``.
    """
    here = Path.cwd()
    if HOME in os.environ:
        return Path(os.environ[HOME]).expanduser().resolve()
    return Path.home() / "d2lora" if UPLOADED in here.as_posix() else here


def resolve(place: str) -> Path:
    """Return ``place`` as an absolute path."""
    path = Path(place).expanduser()
    return path if path.is_absolute() else root() / path
