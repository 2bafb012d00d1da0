"""Pure: which tracker addresses can be used, what to write instead of an unusable one, and how to remove secrets."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

DATABASES = ("postgresql", "mysql", "mssql")  # schemes, beside SQLite's, that MLflow opens through SQLAlchemy
LOCAL = "sqlite:///"
SERVERS = ("http://", "https://")
FILES = (".db", ".sqlite", ".sqlite3")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(?!\d+(?:/|$))(.*)")
_PORT = re.compile(r":(\d+)(?:/.*)?$")
_SERVER = re.compile(r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d+)?(?:/.*)?")
_WITH_USER = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?!/)"
    r"(?P<user>(?:(?!\s[\w.]+=)[^\n])*@)?"  # any character of a password, but not the next key=value of a command
    r"(?P<rest>[^\s'\"?#]*)(?P<query>[?#][^\s'\"]*)?"
)
_LOCAL_QUERY = re.compile(r"(sqlite:///[^?'\"]*)\?[\w&=%.+-]*")
_USER_ALONE = re.compile(r"(?<![\w/])[^\s:/@='\"{},\[\]]+:(?!/)\S*@(?=[\w\[])")


def without_secrets(text: str) -> str:
    """Return ``text`` with all addresses in it, with or without a scheme, stripped of user-info and query.

    >>> without_secrets("tracking.uri=http://ann:secret@host:5000/a?token=b")
    'tracking.uri=http://host:5000/a'

    Every print, error, file and tag goes through this function. User-info is taken to end at the last ``@``, so from an
    unusual address the function removes too much rather than too little. The path of a local database has no user-info.
    """
    plain = _WITH_USER.sub(lambda match: f"{match['scheme']}://{match['rest']}", text)
    return _USER_ALONE.sub("", _LOCAL_QUERY.sub(r"\1", plain))


def fault_of(address: str) -> str | None:
    """Return why a tracker's address cannot be used, and what to write instead; None if its form is right.

    Only the form is judged: nothing is opened and no host is looked up.

    >>> fault_of("localhost:5000")
    "'localhost:5000' is no address of MLflow that can be used: a server has a scheme: write http://localhost:5000"
    >>> fault_of("http://localhost:5000") is None
    True
    """
    instead = _instead(address)
    return instead and f"{without_secrets(address)!r} is no address of MLflow that can be used: {instead}"


def _instead(address: str) -> str | None:
    """Return what to write instead of an address; None if its form is right."""
    if address in ("none", "databricks"):
        return None
    if address.lower().strip() in ("", "none", "no", "off", "null", "false", "memory", "memory://"):
        return "write none for no tracking."
    if address != address.strip():
        return f"write {without_secrets(address.strip())} without spaces around it."
    split = _SCHEME.fullmatch(address)
    if split is None or ("@" in split[2] and not split[2].startswith("/")):
        return _without_scheme(address)
    scheme, rest = split.groups()
    if scheme != scheme.lower():
        lower = f"{scheme.lower()}:{rest}"
        return _instead(lower) or f"write {without_secrets(lower)}"
    return _of_scheme(scheme, rest)


def _of_scheme(scheme: str, rest: str) -> str | None:
    """Return what to write instead of an address that has a scheme; None if its form is right."""
    if scheme.partition("+")[0] == "sqlite":
        return _of_sqlite(scheme, rest)
    if scheme == "file":
        return _of_folder(rest.removeprefix("//"))
    if scheme in ("http", "https", *DATABASES) or scheme.partition("+")[0] in DATABASES:
        return _of_server(scheme, rest)
    if scheme == "databricks":
        return None if re.fullmatch(r"//[\w.-]+", rest) else "write databricks, or databricks://PROFILE."
    if scheme == "postgres":
        return f"write {without_secrets('postgresql:' + rest)}"
    known = "sqlite:///FILE, http://HOST:PORT, postgresql://..., mysql://..., mssql://..., databricks or none"
    return f"{scheme}: is not among {known}. Write sqlite:///mlflow.db for a file beside the sweep."


def _of_server(scheme: str, rest: str) -> str | None:
    """Return what is wrong with the scheme, host or (http) port of a server's address; None if nothing is wrong."""
    if re.search(r"[\s'\"]", rest):
        return "in an address a space is %20 and a quotation mark %27 or %22."
    host = rest.lstrip("/").rpartition("@")[2]
    if not rest.startswith("//") or rest.startswith("///"):
        return f"write {scheme}://{without_secrets('x://' + host).removeprefix('x://') or 'HOST'}"
    if not host or host.startswith((":", "/", "?", "#")):
        return f"it names no host: write {scheme}://{'HOST:5000' if scheme.startswith('http') else 'USER@HOST/mlflow'}"
    return _of_http(scheme, rest.removeprefix("//")) if scheme in ("http", "https") else None


def _of_http(scheme: str, rest: str) -> str | None:
    """Return what is wrong with user-info, host or port of an http address; None if nothing is wrong.

    The address of a page of MLflow (``#/...``) is refused.
    """
    user, _, host = rest.rpartition("@")
    if re.search(r"[@/?#]", user):
        return "in a password @ is %40, / is %2F, ? is %3F and # is %23."
    name = re.split(r"[?#]", host)[0]
    if name != host:
        return f"it ends before ? and #: write {scheme}://{name.rstrip('/')}"
    if not _SERVER.fullmatch(name):
        return f"it is {scheme}://HOST or {scheme}://HOST:PORT: write {scheme}://127.0.0.1:5000 for a server here."
    port = _PORT.search(name.partition("/")[0].rpartition("]")[2])
    if port and not 0 < int(port[1]) < 65536:
        return f"a port is 1 to 65535: write {scheme}://{name.rpartition(':')[0]}:5000"
    return None


def _of_sqlite(scheme: str, rest: str) -> str | None:
    """Return what to write instead of the address of a local database; None if it is three slashes, then a file."""
    file, _, query = rest.lstrip("/").partition("?")
    slashes = len(rest) - len(rest.lstrip("/"))
    root = "/" if slashes > 3 else ""
    if file in ("", ":memory:") or file.startswith("file:"):
        return f"a database is in a file: write {LOCAL}mlflow.db"
    if file.endswith("/"):
        return f"a database is in a file, not a folder: write {LOCAL}{root}{file}mlflow.db"
    if scheme != "sqlite" or slashes not in (3, 4):
        return f"write {LOCAL}{root}{file}" + (f", or {LOCAL}/{file} from the root" if not root else "")
    if "?" in rest and not re.fullmatch(r"\w+=[^&=?/]+(&\w+=[^&=?/]+)*", query):
        return f"a ? begins settings, so in a name it is %3F: write {LOCAL}{root}{file}%3F{query.replace('?', '%3F')}"
    return None


def _without_scheme(address: str) -> str:
    """Return what to write for an address without a scheme, which looks like a server or like a path."""
    host = address.rpartition("@")[2].removeprefix("//")
    is_host = _PORT.search(host) or host.startswith("localhost") or re.fullmatch(r"[\w-]+(\.[\w-]+){2,}(/.*)?", host)
    if is_host and _SERVER.fullmatch(host) and not address.startswith((".", "/", "~")):
        return f"a server has a scheme: write http://{host}"
    if address.startswith("//") and _SERVER.fullmatch(host):
        return f"a server has a scheme: write http://{host}"
    return _of_folder(address)


def _of_folder(folder: str) -> str:
    """Return which database to write instead of MLflow's folder of files, or the address of a database file."""
    path = PurePosixPath(folder or ".")
    if path.suffix in FILES:
        return f"a database has a scheme: write {_escaped(path)}"
    return f"MLflow's folders of files are not used: write {_escaped(path / 'mlflow.db')} for a database there."


def _escaped(path: PurePosixPath) -> str:
    """Return the address of a local database file, with escapes for characters that mean something to SQLAlchemy."""
    return LOCAL + str(path).replace("%", "%25").replace("?", "%3F")
