"""Words of the command line and names of files are UTF-8: Python begins again in UTF-8 mode, or a word is refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from orchestrator.errors import InputError
from orchestrator.paths import root


def begin_again_if_ascii() -> None:
    """Replace this process by the same command in Python's UTF-8 mode, if Python takes names of files for ASCII.

    Python does so in the C locale if PYTHONCOERCECLOCALE=0 and PYTHONUTF8=0 have switched off its own remedies. Python
    then cannot open a file whose name has an umlaut. Workers inherit the mode.
    """
    if sys.getfilesystemencoding() == "ascii" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command # nosec B606


def check_words(words: Sequence[str]) -> None:
    """Refuse a word of the command line, or a working folder, that is not UTF-8: reports and MLflow store text only."""
    for word in words:
        if not _is_text(word):
            raise InputError(
                f"argument {word!r} is not {sys.getfilesystemencoding()} text: write it in UTF-8; a file with such a "
                "name must be renamed."
            )
    if not _is_text(str(root())):
        raise InputError(f"The folder {str(root())!r} has a name that is not UTF-8 text: rename it, or work elsewhere.")


def _is_text(word: str) -> bool:
    """Return whether the word is UTF-8 text: Python turns each byte that is not UTF-8 into a lone surrogate."""
    return not any("\ud800" <= character <= "\udfff" for character in word)
