"""The one door to object stores: a folder below ``d2lora-stores/`` is a near copy of a prefix in a store (ADR 34).

Every function takes a path of the near copy. Of a path elsewhere nothing is in a store, and the functions do nothing.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from orchestrator.errors import InputError

T = TypeVar("T")
SCHEMES = {"s3": "s3fs", "gs": "gcsfs"}
"""The schemes of addresses, each with the library that speaks to its stores."""
NEAR, NEAR_HOME = "d2lora-stores", "D2LORA_NEAR"
ADDRESS = re.compile(
    r"(?P<scheme>[a-z0-9]+)://(?P<bucket>[a-z0-9][a-z0-9._-]+[a-z0-9])(?P<prefix>(/[\w-][\w.=-]*)*)/?", re.ASCII
)
PATIENCE_SECONDS: ContextVar[float] = ContextVar("PATIENCE_SECONDS", default=900.0)
"""For how long a store that fails is asked again."""
LONGEST_PAUSE = 10.0
LARGE = 8 << 20  # bytes
AT_ONCE = 8  # files that are fetched at the same time
REFUSALS = (FileNotFoundError, FileExistsError, PermissionError, ImportError, TypeError, ValueError)
"""Errors that asking again does not mend."""
_ONCE = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 1}}  # asking again is done here
OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": _ONCE}}


def is_address(storage: str) -> bool:
    """Return whether ``storage`` is the address of a store, not a folder."""
    return "://" in storage


def near_folder(address: str) -> Path:
    """Return the folder of the near copy of the prefix ``address``, for example ``s3://bucket/sweeps``.

    It is below ``$D2LORA_NEAR``, by default ``~/.cache``. InputError if no store can have this address, or if the
    library for it is missing.
    """
    match = ADDRESS.fullmatch(address)
    if match is None or match["scheme"] not in SCHEMES:
        raise InputError(
            f"storage={address.split('://', maxsplit=1)[0]}://...: this is no address of an object store. Give "
            "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder, in small letters, digits, and - _ . within names."
        )
    library = SCHEMES[match["scheme"]]
    if importlib.util.find_spec(library) is None:
        raise InputError(
            f"storage={address}: the library {library} is missing. Install it: "
            f"pip install -e '.[{match['scheme']}]' -c constraints.txt"
        )
    home = Path(os.environ.get(NEAR_HOME, "~/.cache")).expanduser().resolve()
    return home.joinpath(NEAR, match["scheme"], match["bucket"], *match["prefix"].split("/")[1:])


def key_of(path: Path) -> tuple[str, str] | None:
    """Return scheme and key (``bucket/prefix/name``) of the object of a near file; None of a path elsewhere."""
    if NEAR not in path.parts:
        return None
    scheme, *key = path.parts[path.parts.index(NEAR) + 1 :]
    return scheme, "/".join(key)


def address_of(path: Path) -> str | None:
    """Return the address of a near file or folder, as ``s3://bucket/prefix/name``; None of a path elsewhere."""
    place = key_of(path)
    return None if place is None else f"{place[0]}://{place[1]}"


def put(path: Path) -> None:
    """Put the file ``path`` into the store, or every file of the folder ``path``."""
    if key_of(path) is None:
        return
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            _put_file(file)


def create(path: Path, content: bytes) -> bool:
    """Create the object of ``path`` with this content; return False if the object is there with another content.

    The content has to be unique, because it decides who has created an object when the answer of the store is lost. Of
    a path elsewhere return True.
    """
    if key_of(path) is None:
        return True

    def once(store: Any, key: str) -> bool:
        try:
            store.pipe_file(key, content, mode="create")
        except Exception as refused:  # whatever a library calls it: what is there now decides
            try:
                return bool(store.cat_file(key) == content)
            except FileNotFoundError:
                raise refused from None
        return True

    return _ask(path, once)


def replace(path: Path, content: bytes) -> None:
    """Write the object of ``path``, whatever was there."""
    _ask(path, lambda store, key: store.pipe_file(key, content))


def get(path: Path) -> bytes:
    """Return the content of the object of ``path``; FileNotFoundError if it is not there."""
    return _ask(path, lambda store, key: bytes(store.cat_file(key)))


def sizes(path: Path) -> dict[str, int]:
    """Return the size in bytes of every object below the folder ``path``, by its path relative to ``path``."""
    return {name: size for name, (size, _) in listed(path).items()}


def listed(path: Path) -> dict[str, tuple[int, float]]:
    """Return the size in bytes of every object below the folder ``path``, and when the object was written.

    The names are relative to ``path``; the times are seconds since 1970 by the store's clock, 0 if it tells none.
    """

    def once(store: Any, key: str) -> dict[str, tuple[int, float]]:
        start = key.rstrip("/") + "/"
        there = store.find(key, detail=True)
        return {
            name.removeprefix(start): (int(info["size"]), _written(info))
            for name, info in there.items()
            if name.startswith(start)
        }

    return _ask(path, once) if key_of(path) else {}


def modified(path: Path) -> float:
    """Return when the object of ``path`` was written, in seconds since 1970 by the store's clock."""
    return _ask(path, lambda store, key: float(store.modified(key).timestamp()))


def remove(path: Path) -> None:
    """Remove the object of ``path``, and every object below ``path``, from the store; the near copy stays."""
    if key_of(path) is None:
        return
    for name in ["", *sizes(path)]:
        with suppress(FileNotFoundError):
            _ask(path / name, lambda store, key: store.rm_file(key))


def fetch(
    path: Path, wanted: Callable[[PurePosixPath], bool] = lambda _: True, *, changes: bool = True
) -> Mapping[str, int]:
    """Copy the objects below the folder ``path`` to the near copy: those that are ``wanted`` by their relative path.

    A near file that has the size of its object is kept if it is large or of an attempt, for neither changes; without
    ``changes`` every such file is kept. Names with a leading dot belong to one machine. Return the `sizes` of all
    objects there.
    """
    there, lacking = sizes(path), list[Path]()
    for name, size in there.items():
        file, parts = path / name, PurePosixPath(name)
        if any(part.startswith(".") for part in parts.parts) or not wanted(parts):
            continue
        fixed = not changes or _is_of_an_attempt(file) or size > LARGE
        if not (fixed and file.is_file() and file.stat().st_size == size):
            lacking.append(file)
    with ThreadPoolExecutor(AT_ONCE, initializer=PATIENCE_SECONDS.set, initargs=(PATIENCE_SECONDS.get(),)) as pool:
        for _ in pool.map(fetch_file, lacking):
            pass
    return there


def fetch_file(file: Path) -> None:
    """Copy the object of ``file`` to the near copy, whole or not at all, if the object is there."""
    if key_of(file) is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".tmp-{os.getpid()}-{random.getrandbits(32):x}")
    try:
        _ask(file, lambda store, key: store.get_file(key, str(draft)))
        draft.replace(file)
    except FileNotFoundError:
        pass
    finally:
        draft.unlink(missing_ok=True)


def share(path: Path) -> None:
    """Put a file or a folder of a cache into the store, so that other nodes can `ensure` it; what is there is kept."""
    if key_of(path) is None:
        return
    folder = path if path.is_dir() else path.parent
    there = sizes(folder)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and there.get(str(file.relative_to(folder))) != file.stat().st_size:
            _put_file(file)


def ensure(path: Path) -> None:
    """Fetch a file or a folder that another node has put with `share`, unless it is on this machine."""
    if key_of(path) and not path.is_file():
        fetch_file(path)
        fetch(path, changes=False)


def write_through(path: Path) -> None:
    """Put a file that has just been made durable, unless it belongs to this machine alone or to an attempt.

    The files of an attempt are put when the attempt ends.
    """
    place = key_of(path)
    if place and not _is_of_an_attempt(path) and not any(part.startswith(".") for part in place[1].split("/")):
        put(path)


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Within: a store that fails is asked again for this long."""
    token = PATIENCE_SECONDS.set(seconds)
    try:
        yield
    finally:
        PATIENCE_SECONDS.reset(token)


def forget(path: Path) -> None:
    """Delete the near copy of the folder ``path``; a path elsewhere stays."""
    if key_of(path):
        shutil.rmtree(path, ignore_errors=True)


def _is_of_an_attempt(path: Path) -> bool:
    return any(re.fullmatch(r"attempt-\d+", part) for part in path.parts)


def _written(info: Mapping[str, Any]) -> float:
    """Return when an object was written, from what a library lists of it; 0 if the library lists no time."""
    time_of = next((info[name] for name in ("LastModified", "mtime", "updated") if info.get(name)), None)
    if isinstance(time_of, str):
        time_of = datetime.fromisoformat(time_of)
    return time_of.timestamp() if isinstance(time_of, datetime) else 0.0


def _put_file(file: Path) -> None:
    _ask(file, lambda store, key: store.put_file(str(file), key))


def _ask(path: Path, call: Callable[[Any, str], T]) -> T:
    """Return ``call(store, key)``; a store that fails is asked again, with growing pauses. OSError if it goes on so."""
    place = key_of(path)
    if place is None:
        raise ValueError(f"{path} is no near copy of an object.")
    end, pause = time.monotonic() + PATIENCE_SECONDS.get(), 0.2
    while True:
        try:
            return call(_store(place[0], os.getpid()), place[1])
        except REFUSALS as error:
            if isinstance(error, OSError) and error.filename is None:
                error.filename = f"{place[0]}://{place[1]}"  # a message without the place helps nobody
            raise
        except Exception as error:  # every library has its own errors for a store that fails
            if time.monotonic() + pause > end:
                message = f"the store does not answer ({type(error).__name__}: {error})"
                raise OSError(errno.EIO, message, f"{place[0]}://{place[1]}") from error
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads requests, keeps no secret
            pause = min(2 * pause, LONGEST_PAUSE)


@functools.cache
def _store(scheme: str, process: int) -> Any:
    """Return the file system of fsspec for a scheme, one per process: its connections do not survive a fork."""
    del process
    import fsspec

    return fsspec.filesystem(scheme, use_listings_cache=False, skip_instance_cache=True, **OPTIONS.get(scheme, {}))
