"""An object that, unpickled, leaves a file: if the file is there, something ran code that came from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


class Canary:
    """Pickled, it is a call that makes the file ``name``."""

    def __init__(self, name: str | Path) -> None:
        self.name = str(name)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (self.name, "w")
