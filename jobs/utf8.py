"""Words and names of files are UTF-8: a Python that takes them for ASCII begins again, others are refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from orchestrator.errors import InputError
from orchestrator.paths import root


def begin_again_if_ascii() -> None:
    """Replace this process by itself in Python's UTF-8 mode where Python takes names of files for ASCII.

    So it does in the C locale where a user has switched both its own ways out off; it could then open no file of a
    recipe whose name has an umlaut. Workers inherit the mode.
    """
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - our own words again


def check_words(words: Sequence[str]) -> None:
    """Refuse words of the command line, and a working folder, that are no text: reports and MLflow take text alone."""
    for word in words:
        if not _is_text(word):
            raise InputError(
                f"argument {word!r} is not {sys.getfilesystemencoding()} text: write it in UTF-8; a file with such a "
                "name must be renamed."
            )
    if not _is_text(str(root())):
        raise InputError(f"The folder {str(root())!r} has a name that is not UTF-8 text: rename it, or work elsewhere.")


def _is_text(word: str) -> bool:
    """Tell whether no byte had to be smuggled into the word as half a surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in word)
