"""The errors of this project: each is one message to the user and an exit code, or a signal between its processes."""

from __future__ import annotations

from typing import ClassVar


class InputError(ValueError):
    """A recipe, a data file, a base or a machine that cannot be used; nothing has been trained. Exit code 2.

    The message names the place (file, line, key), what stands there, and what to do. The error has one string
    argument, so it survives pickling across Ray.
    """

    exit_code: ClassVar[int] = 2


class CorruptCacheError(InputError):
    """A file of prepared data is not the file that was written; the driver makes the file again."""


class RunError(RuntimeError):
    """A run, a pack or the final job failed while it worked. Exit code 1."""

    exit_code: ClassVar[int] = 1


class HeldError(RuntimeError):
    """Another process works on this sweep. Exit code 75: the same command may succeed later."""

    exit_code: ClassVar[int] = 75


class DamagedRunError(RunError):
    """A run has ended, and its files are not the files that were written then; the sweep trains the run again."""


class DamagedCheckpointError(RunError):
    """A checkpoint is not what was written; the checkpoint before it is used."""


class FencedError(RunError):
    """Another trainer has taken a run over, or has ended it; the trainer that gets this error gives the run up."""


class StoppedError(RunError):
    """A trainer was told to stop, and has saved its runs: the same runs go on later from their checkpoints."""
