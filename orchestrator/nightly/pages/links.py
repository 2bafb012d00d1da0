"""Pure: the addresses that a page may link to: places beside it, and web pages; never a script."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"^[^/?#]*:")
_HIDDEN = re.compile(r"[\x00-\x20\x7f]")  # browsers pass over some of these within a scheme


def safe_link(address: object) -> str | None:
    """Return an address if it is a relative path or begins with http:// or https://; else None.

    >>> safe_link("../canary/runs/ab12/"), safe_link("javascript:alert(1)")
    ('../canary/runs/ab12/', None)
    """
    if not isinstance(address, str) or not address or _HIDDEN.search(address):
        return None
    if address.startswith(("http://", "https://")):
        return address
    return None if _SCHEME.match(address) or address.startswith(("//", "\\")) else address
