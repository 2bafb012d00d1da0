"""Files of a night with a seal: what is not as it was written is known as damaged, never taken for a measurement."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.files import read_json
from orchestrator.store.manifest import seal_of

SEAL = "seal"


def sealed_content(file: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``file``; None if the file is missing or is not what was written."""
    content = read_json(file)
    return dict(content) if isinstance(content, dict) and content.get(SEAL) == seal_of(content) else None
