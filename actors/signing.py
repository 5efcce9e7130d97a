"""Signatures of webhooks, as Standard Webhooks 1.0 asks (https://www.standardwebhooks.com): HMAC-SHA256.

What is signed is ``<id>.<timestamp>.<body>``; a message may carry several signatures, one a secret that is valid, so
that a secret can be changed without a message being lost. What may not enter: sending.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from engine.errors import SettingInvalid

PREFIX = "whsec_"
#: The standard's own bounds for a secret, in bytes.
FEWEST_BYTES, MOST_BYTES = 24, 64


def secret_text(secret: bytes) -> str:
    """A secret as people pass it on: ``whsec_`` and base64."""
    return PREFIX + base64.b64encode(secret).decode()


def secret_bytes(text: str) -> bytes:
    """The secret written as ``text``; raises SettingInvalid."""
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not FEWEST_BYTES <= len(secret) <= MOST_BYTES:
        words = f"{FEWEST_BYTES} to {MOST_BYTES} random bytes in base64, with {PREFIX} in front"
        raise SettingInvalid(f"A webhook secret is {words}; make one with `openssl rand -base64 32`.")
    return secret


def headers(secrets: Sequence[bytes], identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a signed message. ``timestamp``: seconds since 1970, of this attempt."""
    signed = f"{identity}.{timestamp}.".encode() + body
    marks = [base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets]
    found = {"webhook-id": identity, "webhook-timestamp": str(timestamp)}
    if marks:
        found["webhook-signature"] = " ".join(f"v1,{mark}" for mark in marks)
    return found
