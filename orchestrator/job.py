"""What every job does around its one call: read arguments, turn errors into exit codes, print."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from orchestrator.addresses import without_secrets
from orchestrator.errors import InputError, RunError
from orchestrator.lease import HeldError
from orchestrator.recipe import read_recipe

Main = Callable[..., int]
AddOptions = Callable[[argparse.ArgumentParser], object]


def run_job(
    name: str, does: str, main: Main, argv: list[str] | None = None, add_options: AddOptions | None = None
) -> int:
    """Read ``RECIPE [key=value ...]``, call ``main(sweep, command, console)`` and return the exit code.

    ``add_options`` may add options of the job's own to the parser; ``main`` gets them by name. Exit codes: 0 all done;
    1 something failed; 2 bad recipe or data, before anything starts; 75 somebody else works on it.
    """
    words = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog=f"jobs/{name}.py", description=does)
    parser.add_argument("recipe", type=Path, help="a YAML file, for example recipes/quickstart.yaml")
    parser.add_argument("values", nargs="*", metavar="key=value", help="overrides, for example optim.lr=1e-4")
    if add_options is not None:
        add_options(parser)
    options = vars(parser.parse_intermixed_args(words))  # key=value may follow an option
    recipe, values = options.pop("recipe"), options.pop("values")
    console = Console(stderr=False)
    command = shlex.join(["python", f"jobs/{name}.py", *map(without_secrets, words)])
    try:
        return main(read_recipe(recipe, values), command, console, **options)
    except InputError as error:
        print(without_secrets(str(error)), file=sys.stderr)  # noqa: T201 - the message alone, for people and for scripts
        return 2
    except HeldError as error:
        print(without_secrets(str(error)), file=sys.stderr)  # noqa: T201
        return 75
    except RunError as error:
        print(without_secrets(str(error)), file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"{error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Committed runs are kept; the same command goes on.", file=sys.stderr)  # noqa: T201
        return 1
