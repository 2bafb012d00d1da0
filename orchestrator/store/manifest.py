"""The manifest of a run that has ended: its row and the sha256 of its files, sealed with a sha256 of the manifest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import DamagedRunError
from orchestrator.files import read_json

FOLDER = "folder"
"""The key of a manifest with the name of the attempt's folder in which the artefacts lie."""

UNSEALED = {"attempt", "row", "files", "rule"}
"""The keys of a manifest that was written before manifests had a seal."""


def canonical(value: Any) -> Any:
    """Return ``value`` as JSON gives it back (tuples as lists); NaN is refused with ValueError."""
    return json.loads(json.dumps(value, allow_nan=False))


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with its seal under the key ``seal``."""
    return dict(manifest) | {"seal": seal_of(canonical(manifest))}


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 over all of a manifest but its seal."""
    content = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the manifest in ``path``; DamagedRunError if it cannot be read, has no row, or does not fit its seal."""
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("row"), dict) or not _fits_seal(manifest):
        raise DamagedRunError(f"{path} is not what was written. Delete {path.parent} to train the run again.")
    return dict(manifest)


def _fits_seal(manifest: Mapping[str, Any]) -> bool:
    """Return whether a manifest fits its seal; one without a seal has to have the keys of version 0.1 and no other.

    Otherwise one flipped bit in the word ``seal`` would unseal a manifest.
    """
    return manifest["seal"] == seal_of(manifest) if "seal" in manifest else manifest.keys() <= UNSEALED


def artefact_folder(run: Path, manifest: Any) -> Path:
    """Return the folder of the artefacts: the folder of the attempt that the manifest names.

    A commit of version 0.1 names no folder: its artefacts lie beside the manifest, in the folder ``run``.
    """
    name = manifest.get(FOLDER) if isinstance(manifest, dict) else None
    return run / name if isinstance(name, str) and re.fullmatch(r"attempt-\d+", name) else run
