"""Content at rest: a key for each message, wrapped under a storage key. Destroying the wrapped key destroys the content."""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.domain.refusals import HubFault

_KEY_OCTETS = 32
_NONCE_OCTETS = 12
_OVERHEAD_OCTETS = _NONCE_OCTETS + 16
WRAPPED_KEY_OCTETS = _KEY_OCTETS + _OVERHEAD_OCTETS


class StorageKey:
    """A key that encrypts at rest, with its key id. Random nonces: good for 2^32 uses (NIST SP 800-38D section 8.3)."""

    def __init__(self, kid: str, secret: bytes) -> None:
        if len(secret) != _KEY_OCTETS:
            raise ValueError("a storage key has 32 octets")
        self.kid = kid
        self._cipher = AESGCM(secret)

    def __repr__(self) -> str:
        return f"StorageKey({self.kid})"

    def encrypt(self, octets: bytes, context: str) -> bytes:
        """Encrypt octets so that they open only in the same context, a name of the place where they are stored."""
        return _encrypt(self._cipher, octets, context)

    def decrypt(self, stored: bytes, context: str) -> bytes:
        """Undo `encrypt`.

        Raises:
            HubFault: the stored octets were altered, moved, or encrypted under another key.
        """
        return _decrypt(self._cipher, stored, context)


def encrypt_content(storage_key: StorageKey, exchange_id: str, plaintext: bytes, beside: bytes) -> tuple[bytes, bytes]:
    """Encrypt a message's content with a key of its own.

    Args:
        storage_key: wraps that key.
        exchange_id: the exchange.
        plaintext: the content.
        beside: what is stored in the clear beside the content, and must not be changed by whoever can write there.

    Returns:
        The wrapped content key (60 octets) and the ciphertext (28 octets longer than the plaintext). Both open only for this
        exchange id, the content only beside those octets.
    """
    content_key = secrets.token_bytes(_KEY_OCTETS)
    wrapped_key = storage_key.encrypt(content_key, _key_context(exchange_id))
    return wrapped_key, _encrypt(AESGCM(content_key), plaintext, _content_context(exchange_id, beside))


def decrypt_content(storage_key: StorageKey, exchange_id: str, wrapped_key: bytes, ciphertext: bytes, beside: bytes) -> bytes:
    """Undo `encrypt_content`.

    Raises:
        HubFault: the key, the content or what stands beside it was altered, or belongs to another exchange or storage key.
    """
    content_key = storage_key.decrypt(wrapped_key, _key_context(exchange_id))
    return _decrypt(AESGCM(content_key), ciphertext, _content_context(exchange_id, beside))


def _key_context(exchange_id: str) -> str:
    return f"content key\n{exchange_id}"


def _content_context(exchange_id: str, beside: bytes) -> str:
    return f"content\n{exchange_id}\n{hashlib.sha256(beside).hexdigest()}"


def _encrypt(cipher: AESGCM, octets: bytes, context: str) -> bytes:
    nonce = secrets.token_bytes(_NONCE_OCTETS)
    return nonce + cipher.encrypt(nonce, octets, context.encode())


def _decrypt(cipher: AESGCM, stored: bytes, context: str) -> bytes:
    try:
        return cipher.decrypt(stored[:_NONCE_OCTETS], stored[_NONCE_OCTETS:], context.encode())
    except (InvalidTag, ValueError):
        raise HubFault("something stored does not decrypt where it stands") from None
