"""The address of a local database and its file, each from the other, as SQLAlchemy reads addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.addresses import LOCAL
from orchestrator.paths import resolve


def absolute(address: str) -> str:
    """Return a tracker's address in which the path of a local database is absolute; others as they are."""
    if not address.startswith(LOCAL):
        return address
    from sqlalchemy.engine import make_url

    url = make_url(address)
    if url.query:
        return url.set(database=str(file_of(address))).render_as_string(hide_password=False)
    return address_of(file_of(address))


def file_of(address: str) -> Path:
    """Return the file that the address of a local database means, absolute."""
    from sqlalchemy.engine import make_url

    return resolve(str(make_url(address).database))


def address_of(file: Path) -> str:
    """Return the address of the database in ``file``, with signs escaped only if SQLAlchemy would not read it back.

    MLflow makes the folder of the address as it stands, escapes and all, so an escape that is not needed makes a second
    folder.
    """
    from sqlalchemy.engine import URL, make_url

    plain = f"{LOCAL}{file}"
    url = make_url(plain)
    if url.database == str(file) and not url.query:
        return plain
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


@contextmanager
def no_other_folder(address: str) -> Iterator[None]:
    """Within: MLflow opens the database; afterwards the empty folder that it makes of an escaped address is gone."""
    made = _other_folders(address)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it is not there, or somebody else uses it
                folder.rmdir()


def _other_folders(address: str) -> list[Path]:
    """Return the folders, the innermost first, that MLflow would make of an escaped address and that are not there."""
    if not address.startswith(LOCAL):
        return []
    literal, meant = Path(address.removeprefix(LOCAL)).parent, file_of(address).parent
    if literal == meant:
        return []
    return [one for one in (literal, *literal.parents) if not one.exists() and one not in (meant, *meant.parents)]
