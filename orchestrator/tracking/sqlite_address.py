"""The file of a local database's address, and the address of its file, by SQLAlchemy's reading of addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.addresses import LOCAL
from orchestrator.paths import resolve


def absolute(address: str) -> str:
    """Return a tracker's address, with an absolute path if it is a local database; others unchanged."""
    if not address.startswith(LOCAL):
        return address
    from sqlalchemy.engine import make_url

    url = make_url(address)
    if url.query:
        return url.set(database=str(file_of(address))).render_as_string(hide_password=False)
    return address_of(file_of(address))


def file_of(address: str) -> Path:
    """Return the absolute path of the file that the address of a local database means."""
    from sqlalchemy.engine import make_url

    return resolve(str(make_url(address).database))


def address_of(file: Path) -> str:
    """Return the address of the database in ``file``.

    Signs are escaped only where SQLAlchemy would otherwise read another file. MLflow makes the folder of the address
    with the escapes as part of its name, so every needless escape would make a second folder.
    """
    from sqlalchemy.engine import URL, make_url

    plain = f"{LOCAL}{file}"
    url = make_url(plain)
    if url.database == str(file) and not url.query:
        return plain
    return URL.create("sqlite", database=str(file)).render_as_string(hide_password=False)


@contextmanager
def no_other_folder(address: str) -> Iterator[None]:
    """Within: MLflow may open the database. Afterwards: the empty folder that MLflow makes of escapes is deleted."""
    made = _other_folders(address)
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):  # it was not made, or somebody else uses it
                folder.rmdir()


def _other_folders(address: str) -> list[Path]:
    """Return the folders that MLflow would make of an escaped address and that do not exist, the innermost first."""
    if not address.startswith(LOCAL):
        return []
    literal, meant = Path(address.removeprefix(LOCAL)).parent, file_of(address).parent
    if literal == meant:
        return []
    candidates = [folder for folder in (literal, *literal.parents) if folder not in (meant, *meant.parents)]
    return [folder for folder in candidates if not folder.exists()]
