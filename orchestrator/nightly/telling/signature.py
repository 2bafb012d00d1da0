"""Pure: the headers of a message, with its signature by a shared secret, as Standard Webhooks has them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

PREFIX = "whsec_"
"""The beginning of a secret whose rest is the key in base64; any other secret is the key itself, in UTF-8."""


def headers_of(message_id: str, timestamp: int, body: bytes, secret: str | None) -> dict[str, str]:
    """Return the headers of one sending at ``timestamp`` (seconds since 1970); without a secret no signature.

    ValueError for a secret with the prefix whose rest is not base64.
    """
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "d2lora-nightly",
        "Idempotency-Key": message_id,
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
    }
    if secret is not None:
        headers["webhook-signature"] = signature_of(key_of(secret), message_id, timestamp, body)
    return headers


def signature_of(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and, in base64, the HMAC-SHA256 of ``id.timestamp.body``."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def key_of(secret: str) -> bytes:
    """Return the key of a secret."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"what follows {PREFIX} is not base64") from None
