"""What crosses between the codec that reads and writes an envelope and the code that seals and opens it: octets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SealedContentType(StrEnum):
    """The `cty` of an envelope: what its plaintext is."""

    JWS = "hub+jws"  # UTF-8 of a JWS in the general JSON serialisation
    XML = "hub+xml"  # the octets of a signed XML document


@dataclass(frozen=True)
class WrappedKey:
    """One recipient's way to the content key.

    `encapsulated` is the sender's ephemeral part: classic-1 the uncompressed P-256 point 04 || x || y (65 octets), pq-1 the HPKE
    `enc` (1120 octets). `encrypted_key` has 40 octets in classic-1 and 48 in pq-1.
    """

    kid: str
    encapsulated: bytes
    encrypted_key: bytes


@dataclass(frozen=True)
class EncryptedContent:
    """AES-256-GCM output: `iv` 12 octets, `ciphertext` as long as the plaintext, `tag` 16 octets."""

    iv: bytes
    ciphertext: bytes
    tag: bytes
