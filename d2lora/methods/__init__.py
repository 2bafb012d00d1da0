"""The methods there are: one line each."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from d2lora.method import Method
from d2lora.names import unknown

METHODS = {
    "d2lora": "d2lora.methods.d2lora",
    "dora": "d2lora.methods.dora",
    "lora": "d2lora.methods.lora",
}

_LOADED: dict[str, Method] = {}
"""The methods that somebody has asked for; a layer's forward, which may be compiled, must not import."""


def available_methods() -> list[str]:
    """Return the names that `get_method` knows, sorted."""
    return sorted(METHODS)


def get_method(name: str) -> Method:
    """Return the method called ``name``; ValueError with the nearest name if there is none."""
    if name not in _LOADED:
        if name not in METHODS:
            raise ValueError(unknown("method", name, METHODS))
        _LOADED[name] = cast(Method, import_module(METHODS[name]))
    return _LOADED[name]
