"""Relative paths of a recipe: they start in the working directory, unless Ray will delete that directory."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.errors import InputError
from orchestrator.objects import is_address, near_folder

UPLOADED = "runtime_resources/working_dir_files"
HOME = "D2LORA_HOME"


def root() -> Path:
    """Return the folder in which relative paths start: ``$D2LORA_HOME`` if it is set, else the working directory.

    ``ray job submit --working-dir .`` runs the job in an uploaded copy, which is deleted with the cluster. There the
    default is ``~/d2lora``.
    """
    here = Path.cwd()
    if HOME in os.environ:
        return _expanded(os.environ[HOME]).resolve()
    return Path.home() / "d2lora" if UPLOADED in here.as_posix() else here


def resolve(path_in_recipe: str) -> Path:
    """Return the absolute path; ``~`` is the home directory of the user."""
    path = _expanded(path_in_recipe)
    return path if path.is_absolute() else root() / path


def readable(path_in_recipe: str | Path) -> Path:
    """Return the absolute path of a file or folder that the recipe only reads.

    A relative path starts where `resolve` starts. Files that were uploaded with a job are in the working directory
    alone: a path that leads to nothing there and to something in the working directory starts in the working directory.
    """
    path, here = resolve(str(path_in_recipe)), Path.cwd() / _expanded(path_in_recipe)
    return here if here.exists() and not path.exists() else path


def _expanded(path: str | Path) -> Path:
    """Return the path with a home directory in the place of ``~``; InputError for a user without one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = Path(path).parts[0]
        raise InputError(f"{path}: {user} is nobody's home directory here: write the whole path.") from None


def storage_folder(storage: str) -> Path:
    """Return the absolute folder of a recipe's ``storage``; of an object store's address the folder of its near copy.

    InputError if no store can have this address, or if the library for it is missing.
    """
    return near_folder(storage) if is_address(storage) else resolve(storage)
