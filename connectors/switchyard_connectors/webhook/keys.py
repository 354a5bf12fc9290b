"""Secrets of Standard Webhooks as keys."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable


def unpadded(text: str | bytes) -> bytes:
    """Base64 with its padding or without.

    Raises:
        ValueError: it is none.
    """
    raw = text.encode() if isinstance(text, str) else text
    raw = raw.rstrip(b"=")
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), validate=True)


def symmetric(secret: str) -> bytes:
    """The key of `whsec_…`.

    Raises:
        ValueError: it is none.
    """
    try:
        key = unpadded(secret.removeprefix("whsec_"))
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ValueError("secrets: one is not `whsec_` and base64; copy it whole from the sender")
    return key


def verifying(secret: str) -> Callable[[bytes, bytes], bool]:
    """The check of the key `whpk_…` (ed25519): whether base64 of a signature is one of a message.

    Raises:
        ValueError: it is no such key.
    """
    # Only they wait for the import who use it.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        # A private key, `whsk_`, is base64 of another length.
        key = Ed25519PublicKey.from_public_bytes(unpadded(secret.removeprefix("whpk_")))
    except (binascii.Error, ValueError):
        raise ValueError(
            "secrets: one is neither `whsec_` and base64 nor a public key: `whpk_` and the base64 of 32 bytes"
        ) from None

    def verified(signature: bytes, message: bytes) -> bool:
        try:
            key.verify(unpadded(signature), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    return verified


def signing(secret: str) -> Callable[[bytes], str]:
    """The signature of a message, as it stands in the header `webhook-signature`: `v1,…` of `whsec_…`, an HMAC-SHA256;
    `v1a,…` of `whsk_…`, ed25519 (standardwebhooks.com, specification 1.0).

    Raises:
        ValueError: it is no such key.
    """
    if not secret.startswith("whsk_"):
        key = symmetric(secret)
        return lambda message: f"v1,{base64.b64encode(hmac.digest(key, message, 'sha256')).decode()}"
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        # The seed, and in some libraries' spelling the public key behind it.
        private = Ed25519PrivateKey.from_private_bytes(unpadded(secret.removeprefix("whsk_"))[:32])
    except (binascii.Error, ValueError):
        raise ValueError("secrets: one that begins with `whsk_` is not base64 of an ed25519 key") from None
    return lambda message: f"v1a,{base64.b64encode(private.sign(message)).decode()}"
