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
    own: Sequence[str] = (),
) -> int:
    """Read ``RECIPE [key=value ...]``, call ``main(spec, command, console)`` and return the exit code.

    ``argv`` are the words of the command line, by default those of this process. ``add_options`` may add options of
    the job's own to the parser; ``main`` gets their values by name. Unless ``needs_recipe`` the recipe may be left out,
    and ``main`` then gets None. ``own`` are keys that are the job's, not the recipe's: ``main`` gets the value of
    ``key=value`` by the key's name, None without one. Exit codes: 0 all done; 1 something failed; 2 bad
    recipe or data, before anything is trained; 75 another process works on the same sweep;
    130 and 143 interrupted by Ctrl-C or SIGTERM, and the same command goes on.
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
        options |= _taken(own, options["values"])
        code = _exit_code(lambda: _call(name, words, main, options), sigterm)
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


def _taken(own: Sequence[str], values: list[str]) -> dict[str, str | None]:
    """Take the keys ``own`` out of the words ``values``; return the last value of each, None without one."""
    words = dict.fromkeys(own, None) | {key: value for key, _, value in (word.partition("=") for word in values)}
    values[:] = [word for word in values if word.partition("=")[0] not in own]
    return {key: words[key] for key in own}


def _call(name: str, words: Sequence[str], main: Main, options: dict[str, Any]) -> int:
    check_words(words)
    recipe, values = options.pop("recipe"), options.pop("values")
    command = shlex.join(["python", f"jobs/{name}.py", *map(without_secrets, words)])
    return main(None if recipe is None else read_recipe(recipe, values), command, terminal(), **options)


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
