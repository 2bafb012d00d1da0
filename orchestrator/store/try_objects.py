"""Try in an object store every request that a commit and a lease need; a request that does not hold is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator import objects
from orchestrator.errors import InputError
from orchestrator.store.try_files import ANSWER, place_of

PATIENCE_SECONDS = 10.0
STORES = (
    "Check that the bucket is there and that this account may get, put, list and delete objects in it (s3: "
    "AWS_ACCESS_KEY_ID or a profile, AWS_ENDPOINT_URL of a server that is not Amazon's; gs: "
    "GOOGLE_APPLICATION_CREDENTIALS). The store must honour conditional PUT (If-None-Match: *), as S3, GCS and recent "
    "MinIO do. Or give a folder: storage=FOLDER"
)


@contextmanager
def tried_store(storage: Path, nonce: str) -> Iterator[None]:
    """Try every request in the object store of ``storage``; within: the object of the trial is there.

    InputError names the request that does not hold, and the remedy.
    """
    place, content = place_of(storage, nonce), nonce.encode()
    checks: dict[str, Callable[[], bool]] = {
        "be reached": lambda: objects.create(place / ANSWER, content),
        "create an object only where none is": lambda: not objects.create(place / ANSWER, b"second"),
        "read back what was written": lambda: objects.get(place / ANSWER) == content,
        "list objects": lambda: ANSWER in objects.sizes(place),
        "tell when an object was written": lambda: objects.modified(place / ANSWER) > 0,
        "delete an object": lambda: _deletes(place / "deleted"),
    }
    with objects.patience(PATIENCE_SECONDS):
        for what, holds in checks.items():
            try:
                why = "" if holds() else "the request succeeds and has not that effect"
            except Exception as error:  # every library has its own errors for an account or a bucket that is not there
                why = str(error) or repr(error)
            if why:
                raise InputError(f"storage={objects.address_of(storage)}: this store cannot {what}: {why}. {STORES}")
    try:
        yield
    finally:
        with suppress(OSError), objects.patience(PATIENCE_SECONDS):
            objects.remove(place)


def _deletes(path: Path) -> bool:
    objects.create(path, b"deleted")
    objects.remove(path)
    return path.name not in objects.sizes(path.parent)
