"""The manifest of a run that has ended, sealed with its own sha256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import RunError
from orchestrator.files import read_json


class DamagedRunError(RunError):
    """A committed run whose files are not what was committed."""


def canonical(value: Any) -> Any:
    """Return ``value`` as JSON gives it back: what is compared must have made the same journey."""
    return json.loads(json.dumps(value, allow_nan=False))


def _seal(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest's content, without the seal itself."""
    content = {key: value for key, value in manifest.items() if key != "seal"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _unsealed(path: Path) -> dict[str, Any]:
    """Return the manifest in ``path``; DamagedRunError if it is not what was written."""
    manifest = read_json(path)
    whole = isinstance(manifest, dict) and isinstance(manifest.get("row"), dict)
    if not whole or manifest.get("seal", _seal(manifest)) != _seal(manifest):
        raise DamagedRunError(f"{path} is not what was written. Delete {path.parent} to train the run again.")
    return dict(manifest)
