"""The frame of every job: read the command line, call the job, turn an error into one message and an exit code."""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from jobs.utf8 import begin_again_if_ascii, check_words
from orchestrator.addresses import without_secrets
from orchestrator.errors import HeldError, InputError, RunError
from orchestrator.logs import streamed
from orchestrator.recipe.read import read_recipe
from orchestrator.say import complain, standard_output, terminal, unfailing
from orchestrator.store.frontier import with_renewed

INTERRUPTED, TERMINATED = 130, 143  # as a shell reports a process that SIGINT or SIGTERM has ended
Main = Callable[..., int]
AddOptions = Callable[[argparse.ArgumentParser], object]


def run_job(
    name: str,
    does: str,
    main: Main,
    argv: list[str] | None = None,
    add_options: AddOptions | None = None,
    needs_recipe: bool = True,
    own_words: Sequence[str] = (),
) -> int:
    """Read ``RECIPE [key=value ...]``, call ``main(spec, command, console)`` and return the exit code.

    ``argv`` are the words of the command line, by default those of this process. ``add_options`` may add options of
    the job's own to the parser; ``main`` gets their values by name. ``own_words`` are keys such as ``night`` in
    ``night=2026-11-28`` that are no keys of a recipe; ``main`` gets their texts by name, None where a word is not
    given. Unless ``needs_recipe`` the recipe may be left out, and ``main`` then gets None. Exit codes: 0 all done; 1
    something failed; 2 bad recipe or data, before anything is trained; 75 another process works on the same sweep; 130
    and 143 interrupted by Ctrl-C or SIGTERM, and the same command goes on.
    """
    sigterm = _Sigterm()
    if argv is None:
        begin_again_if_ascii()
        signal.signal(signal.SIGTERM, sigterm)
    words = sys.argv[1:] if argv is None else argv
    with unfailing():
        parser = argparse.ArgumentParser(prog=f"jobs/{name}.py", description=does)
        recipe = parser.add_argument("recipe", type=Path, help="a YAML file, for example recipes/quickstart.yaml")
        if not needs_recipe:
            recipe.nargs = "?"
        parser.add_argument("values", nargs="*", metavar="key=value", help="overrides, for example optim.lr=1e-4")
        if add_options is not None:
            add_options(parser)
        options = vars(parser.parse_intermixed_args(words))  # key=value may follow an option
        code = _exit_code(lambda: _call(name, words, main, options, own_words, frontier=needs_recipe), sigterm)
    if argv is None:
        gc.freeze()  # this process ends now: without the last garbage collection it ends a second sooner
    return code


def add_log_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--log``, which `logged_as` reads."""
    parser.add_argument("--log", choices=("text", "json"), default="text", help="what is printed: text, or JSON lines")


@contextmanager
def logged_as(kind: str, console: Console) -> Iterator[Console]:
    """Within: the console to print on; with the kind "json" nothing is printed but the log, as JSON lines on stdout."""
    if kind == "text":
        yield console
        return
    with open(os.devnull, "w") as nowhere, streamed(standard_output()):
        yield terminal(nowhere)


def _call(
    name: str, words: Sequence[str], main: Main, options: dict[str, Any], own_words: Sequence[str], *, frontier: bool
) -> int:
    check_words(words)
    recipe, values = options.pop("recipe"), options.pop("values")
    options |= _own(values, own_words)
    values = [word for word in values if word.partition("=")[0] not in own_words]
    command = shlex.join(["python", f"jobs/{name}.py", *map(without_secrets, words)])
    spec = None if recipe is None else read_recipe(recipe, values)
    return main(with_renewed(spec) if spec and frontier else spec, command, terminal(), **options)


def _own(values: Sequence[str], own_words: Sequence[str]) -> dict[str, str | None]:
    """Return the texts of a job's own words by name; InputError for a word that is given twice."""
    own = dict[str, str | None].fromkeys(own_words)
    for word in values:
        name, equals, text = word.partition("=")
        if equals and name in own:
            if own[name] is not None:
                raise InputError(f"argument {word!r}: {name} is given twice. Leave one out.")
            own[name] = text
    return own


def _exit_code(call: Callable[[], int], sigterm: _Sigterm) -> int:
    """Return the exit code of ``call()``; for an expected error print its message and return its exit code."""
    try:
        return call()
    except (InputError, RunError, HeldError) as error:
        complain(without_secrets(str(error)))
        return error.exit_code
    except OSError as error:
        complain(f"{error.filename or 'a file'}: {error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        word, code = ("Terminated", TERMINATED) if sigterm.arrived else ("Interrupted", INTERRUPTED)
        complain(f"{word}. Runs are kept as far as they were saved; the same command goes on.")
        return code


class _Sigterm:
    """The handler of SIGTERM: every ``with`` block on the way out closes its resource, as after Ctrl-C.

    It raises KeyboardInterrupt, because Ray raises that error anew from its own waits and would lose any other type.
    """

    def __init__(self) -> None:
        self.arrived = False

    def __call__(self, _number: int, _frame: object) -> None:
        self.arrived = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second signal must not break off the closing
        raise KeyboardInterrupt
