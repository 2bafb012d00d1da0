"""The table of methods, one line per method.

To add a method, write one file in this folder with the functions of `d2lora.method.Method`, and add one line to
`METHODS`. The file contains one equation and nothing about layers, rows or backward, because autograd differentiates
`factored`. ``tests/contract`` then tests the method at its default settings, without another line; a setting that
changes the equation gets a line in ``tests/helpers/methods.py``. `d2lora.methods.lora` is the shortest example.
"""

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
"""The methods that were asked for before; `get_method` is called in a forward, where torch.compile allows no import."""


def available_methods() -> list[str]:
    """Return the names that `get_method` knows, sorted.

    >>> "lora" in available_methods()
    True
    """
    return sorted(METHODS)


def get_method(name: str) -> Method:
    """Return the method called ``name``, a module with the functions of `Method`.

    ValueError for an unknown name, with the nearest known one.

    >>> lora = get_method("lora")
    >>> lora.shapes(6, 8, lora.Config(rank=2))
    {'up': (6, 2), 'down': (2, 8)}
    """
    if name not in _LOADED:
        if name not in METHODS:
            raise ValueError(unknown("method", name, METHODS))
        _LOADED[name] = cast(Method, import_module(METHODS[name]))
    return _LOADED[name]
