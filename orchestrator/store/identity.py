"""What a sweep's folder is, apart from its name: a random word, made once, by which a tracker knows the sweep."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass

from orchestrator.errors import InputError
from orchestrator.files import read_json, write_json
from orchestrator.store.sweep_folder import SweepFolder


@dataclass(frozen=True)
class Identity:
    """The ``word`` of a sweep's folder.

    ``adopts`` tells that the folder is older than its word: earlier versions of this program showed its runs under the
    sweep's name alone, and what has the name and no word is this sweep's.
    """

    word: str
    adopts: bool = False


def identity_of(folder: SweepFolder) -> Identity:
    """Return the identity of a sweep's folder, a new one if the folder has none; InputError if its file holds no word.

    Call it before anything else is written into a new folder, because a folder with content is taken to be of an
    earlier version.
    """
    if not folder.identity.exists():
        write_json(folder.identity, asdict(Identity(uuid.uuid4().hex, folder.sweep.exists() or folder.runs.exists())))
    content = read_json(folder.identity)
    match content:
        case {"word": str(word), "adopts": bool(adopts)} if word.isalnum():
            return Identity(word, adopts)
    raise InputError(
        f"{folder.identity} does not say which sweep this is. Bring the file back from a copy, or delete it: then runs "
        "that MLflow has of this sweep stay as they are, and are shown once more."
    )
