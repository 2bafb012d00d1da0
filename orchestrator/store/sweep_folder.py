"""The files of a sweep's folder: where each of them lies."""

from __future__ import annotations

from pathlib import Path


def base_file(folder: Path, data: str, base_fingerprint: str, dtype: str) -> Path:
    """Return where the untrained base's scores on the test items of a prepared file are kept."""
    return folder / "base" / f"{Path(data).stem}-{base_fingerprint[:8]}-{dtype}.json"
