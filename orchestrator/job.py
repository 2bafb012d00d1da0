"""What every job does around its one call: read arguments, turn errors into exit codes, print."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from orchestrator.errors import InputError, RunError
from orchestrator.lease import HeldError
from orchestrator.recipe import read_recipe
from orchestrator.spec import SweepSpec

Main = Callable[[SweepSpec, str, Console], int]


def run_job(name: str, does: str, main: Main, argv: list[str] | None = None) -> int:
    """Read ``RECIPE [key=value ...]``, call ``main(sweep, command, console)`` and return the exit code.

    0 all done; 1 something failed; 2 bad recipe or data, before anything starts; 75 somebody else works on it.
    """
    parser = argparse.ArgumentParser(prog=f"jobs/{name}.py", description=does)
    parser.add_argument("recipe", type=Path, help="a YAML file, for example recipes/quickstart.yaml")
    parser.add_argument("values", nargs="*", metavar="key=value", help="overrides, for example optim.lr=1e-4")
    given = parser.parse_args(argv)
    console = Console(stderr=False)
    command = shlex.join(["python", f"jobs/{name}.py", str(given.recipe), *given.values])
    try:
        return main(read_recipe(given.recipe, given.values), command, console)
    except InputError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the message alone, for people and for scripts
        return 2
    except HeldError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 75
    except RunError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
