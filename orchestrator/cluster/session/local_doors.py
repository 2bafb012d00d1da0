"""The doors of a local Ray: it listens on loopback alone, and answers only clients that have its token."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from orchestrator.cluster.session.temporary import make_temporary, remove_abandoned

MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""With the value 0 Ray takes this machine for its only node, as it does on macOS, and listens on 127.0.0.1."""
PREFIX = "d2lora-token-"
DOORS = (MODE, TOKEN, TOKEN_FILE, LOOPBACK)
"""The variables that `close_doors` sets or removes."""


def close_doors() -> Path | None:
    """Let the Ray that this process starts next listen on loopback and demand a token; Ray reads both on import.

    Return the folder of the token, which the caller removes; None if the user has a token of his own, which is then
    used. A user who has switched tokens off for another cluster gets a token here all the same.

    The folder is not within Ray's own temporary folder, because Ray lets every user of the machine write there: another
    user could put a token of his own in the place of this one.
    """
    os.environ[LOOPBACK] = "0"
    if _has_own_token():
        return None
    remove_abandoned(PREFIX)
    folder = make_temporary(PREFIX)  # mode 0700
    file = folder / "auth_token"
    file.touch(mode=0o600)
    file.write_text(secrets.token_hex(32))
    os.environ.pop(TOKEN, None)  # Ray would prefer it to the file
    os.environ.update({MODE: "token", TOKEN_FILE: str(file)})
    return folder


def forget_earlier_doors() -> None:
    """Let Ray read mode and token again, which it keeps from an earlier cluster of this process."""
    from ray._private import ray_constants
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
    ray_constants.ENABLE_RAY_CLUSTER = os.environ.get(LOOPBACK) != "0"


def _has_own_token() -> bool:
    """Return whether the user asks for tokens and has one, in the order in which Ray looks for it."""
    if os.environ.get(MODE, "").lower() != "token":
        return False
    if TOKEN in os.environ:
        return bool(os.environ[TOKEN].strip())
    file = Path(os.environ.get(TOKEN_FILE) or Path.home() / ".ray" / "auth_token")
    return file.is_file() and bool(file.read_text(errors="replace").strip())
