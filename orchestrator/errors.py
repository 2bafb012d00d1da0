"""The errors that jobs turn into an exit code and one message."""

from __future__ import annotations


class InputError(ValueError):
    """A recipe, a data file or a model that cannot be used.

    Raised before anything starts; jobs print the message alone and exit with 2. The message names the place (file,
    line, key), what was found, and the way out. One string argument, so it survives pickling across Ray.
    """


class RunError(RuntimeError):
    """A run, a pack or the final job failed while it worked; jobs report it and exit with 1."""
