"""Signed notes, checkpoints and cosignatures of C2SP (signed-note, tlog-checkpoint, tlog-cosignature), strictly.

A checkpoint is a note that names the log, its size and its root. The log signs it with Ed25519 and cosigns it with ML-DSA-44;
partners cosign it as witnesses. Whoever verifies pins the keys: a key never comes from the same answer as the note.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from hub.crypto.merkle import HASH_OCTETS
from hub.domain.refusals import Refusal, RefusalCode

MAX_NOTE_BYTES = 256 * 1024
MAX_SIGNATURES = 64  # the format asks for at least 16
_KEY_ID_OCTETS = 4
_TIME_OCTETS = 8
_MAX_NAME_OCTETS = 255
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]+\Z")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_SIGNATURE_LINE = re.compile("\u2014 ([^\\s+]+) ([A-Za-z0-9+/=]+)\\Z")
_CHECKPOINT = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,18})\n([A-Za-z0-9+/=]+)\n\Z")
_SUBTREE_LABEL = b"subtree/v1\n\x00"
_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        2**255 - 20,  # -1
        2**255 - 19,  # 0, not reduced
        2**255 - 18,  # 1, not reduced
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)
"""The y coordinates of the Ed25519 points of order 1, 2, 4 and 8: such a key verifies a forged signature for any message."""


class KeyType(IntEnum):
    """Signature types of signed-note that are understood here."""

    ED25519 = 0x01
    ML_DSA_44_COSIGNATURE = 0x06


_PUBLIC_KEY_OCTETS = {KeyType.ED25519: 32, KeyType.ML_DSA_44_COSIGNATURE: 1312}


@dataclass(frozen=True)
class NoteKey:
    """A key that is trusted under a name. `public` has 32 (Ed25519) or 1312 octets (ML-DSA-44)."""

    name: str
    type: KeyType
    public: bytes

    @property
    def key_id(self) -> bytes:
        """SHA-256(name || 0A || type || public), its first 4 octets."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.type]) + self.public).digest()[:_KEY_ID_OCTETS]

    @property
    def vkey(self) -> str:
        """The verifier key as text: name+hex(key id)+base64(type || public)."""
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.type]) + self.public)}"


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: who it says it is by, and the octets after the key id (with the time, in a cosignature)."""

    name: str
    key_id: bytes
    octets: bytes

    @property
    def line(self) -> str:
        """The line as it stands in a note, with its line feed."""
        return f"\u2014 {self.name} {_base64(self.key_id + self.octets)}\n"


@dataclass(frozen=True)
class Note:
    """A note that was parsed, not verified. `text` ends with a line feed."""

    text: str
    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True)
class Checkpoint:
    """What a log says of itself: its origin, the number of leaves, and the root (32 octets)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The body of the note."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True)
class VerifiedCheckpoint:
    """A checkpoint, and the trusted keys whose signatures over it were verified, with the POSIX time of each cosignature."""

    checkpoint: Checkpoint
    signers: tuple[NoteKey, ...]
    cosigned_at: tuple[tuple[NoteKey, int], ...]


class LogSigner:
    """The log's Ed25519 key under the log's name."""

    def __init__(self, name: str, private: ed25519.Ed25519PrivateKey) -> None:
        self._private = private
        self.key = NoteKey(_checked_name(name), KeyType.ED25519, private.public_key().public_bytes_raw())

    def sign(self, checkpoint: Checkpoint) -> NoteSignature:
        """Sign a checkpoint; deterministic."""
        return NoteSignature(self.key.name, self.key.key_id, self._private.sign(checkpoint.text.encode()))


class Cosigner:
    """An ML-DSA-44 key that cosigns checkpoints: the log's own second signature, or a witness."""

    def __init__(self, name: str, private: mldsa.MLDSA44PrivateKey) -> None:
        self._private = private
        self.key = NoteKey(_checked_name(name), KeyType.ML_DSA_44_COSIGNATURE, private.public_key().public_bytes_raw())

    def cosign(self, checkpoint: Checkpoint, posix_seconds: int) -> NoteSignature:
        """Cosign a checkpoint at a time; hedged, so that two cosignatures of one checkpoint differ."""
        signature = self._private.sign(_cosigned_octets(self.key.name, checkpoint, posix_seconds))
        return NoteSignature(self.key.name, self.key.key_id, posix_seconds.to_bytes(_TIME_OCTETS, "big") + signature)


def write_note(checkpoint: Checkpoint, signatures: Sequence[NoteSignature]) -> bytes:
    """Write a checkpoint as a signed note."""
    return (checkpoint.text + "\n" + "".join(signature.line for signature in signatures)).encode()


def parse_note(octets: bytes) -> Note:
    """Read a note, split at its last blank line.

    Raises:
        Refusal: BAD_PROOF.
    """
    if len(octets) > MAX_NOTE_BYTES:
        raise _bad_note("it is too long")
    try:
        whole = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise _bad_note("it is not UTF-8") from None
    body, blank, lines = whole.rpartition("\n\n")
    if not blank or not body or not lines.endswith("\n") or _CONTROL.search(whole):
        raise _bad_note("it has no signature block, or control characters")
    signature_lines = lines[:-1].split("\n")
    if len(signature_lines) > MAX_SIGNATURES:
        raise _bad_note("it has too many signatures")
    return Note(body + "\n", tuple(_parse_signature(line) for line in signature_lines))


def parse_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint's body: origin, size, root, each with its line feed, and no extension lines.

    Raises:
        Refusal: BAD_PROOF.
    """
    match = _CHECKPOINT.match(text)
    if not match:
        raise _bad_note("it is not a checkpoint")
    checkpoint = Checkpoint(match[1], int(match[2]), _unbase64(match[3]))
    if len(checkpoint.root) != HASH_OCTETS:
        raise _bad_note("the root does not have 32 octets")
    return checkpoint


def verify_checkpoint(octets: bytes, log_key: NoteKey, cosigners: Sequence[NoteKey] = ()) -> VerifiedCheckpoint:
    """Verify a checkpoint that a log signed.

    Signatures by keys that are not given are not looked at; one by a given key that fails spoils the note.

    Args:
        octets: the note.
        log_key: the log's pinned Ed25519 key; its signature must be there, and its name is the checkpoint's origin.
        cosigners: further pinned keys. How many of them must have signed is for the caller to say.

    Raises:
        Refusal: BAD_PROOF.
    """
    note = parse_note(octets)
    checkpoint = parse_checkpoint(note.text)
    if checkpoint.origin != log_key.name:
        raise _bad_note("it is of another log")
    trusted = {(key.name, key.key_id): key for key in (log_key, *cosigners)}
    verified: dict[NoteKey, NoteSignature] = {}
    for signature in note.signatures:
        key = trusted.get((signature.name, signature.key_id))
        if key is not None:
            verify_note_signature(key, note.text, signature)
            verified[key] = signature
    if log_key not in verified:
        raise _bad_note("the log's signature is missing")
    times = tuple((key, _time_of(one)) for key, one in verified.items() if key.type is KeyType.ML_DSA_44_COSIGNATURE)
    return VerifiedCheckpoint(checkpoint, tuple(verified), times)


def verify_note_signature(key: NoteKey, text: str, signature: NoteSignature) -> None:
    """Verify one signature line over the text of a note with a pinned key; a cosignature over a checkpoint only.

    Raises:
        Refusal: BAD_PROOF.
    """
    try:
        if key.type is KeyType.ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(key.public).verify(signature.octets, text.encode())
        else:
            message = _cosigned_octets(key.name, parse_checkpoint(text), _time_of(signature))
            mldsa.MLDSA44PublicKey.from_public_bytes(key.public).verify(signature.octets[_TIME_OCTETS:], message)
    except (InvalidSignature, ValueError):
        raise _bad_note("a signature does not verify") from None


def parse_vkey(text: str) -> NoteKey:
    """Read a verifier key that is about to be pinned.

    Raises:
        Refusal: INVALID_KEY, for a wrong key id and for an Ed25519 point of small order too.
    """
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        octets = base64.b64decode(encoded, validate=True)
        key = NoteKey(_checked_name(name), KeyType(octets[0]), octets[1:])
    except (ValueError, IndexError):
        raise Refusal(RefusalCode.INVALID_KEY, "not a verifier key") from None
    if len(key.public) != _PUBLIC_KEY_OCTETS[key.type] or key.vkey != f"{name}+{key_id}+{encoded}":
        raise Refusal(RefusalCode.INVALID_KEY, "not a verifier key")
    if key.type is KeyType.ED25519 and int.from_bytes(key.public, "little") & (2**255 - 1) in _SMALL_ORDER_Y:
        raise Refusal(RefusalCode.INVALID_KEY, "an Ed25519 point of small order")
    return key


def _parse_signature(line: str) -> NoteSignature:
    match = _SIGNATURE_LINE.match(line)
    octets = _unbase64(match[2]) if match else b""
    if not match or len(octets) <= _KEY_ID_OCTETS:
        raise _bad_note("a signature line is malformed")
    return NoteSignature(match[1], octets[:_KEY_ID_OCTETS], octets[_KEY_ID_OCTETS:])


def _cosigned_octets(cosigner: str, checkpoint: Checkpoint, posix_seconds: int) -> bytes:
    """What an ML-DSA-44 cosignature of a whole tree is over (C2SP tlog-cosignature)."""
    return b"".join(
        (
            _SUBTREE_LABEL,
            _with_length(cosigner),
            posix_seconds.to_bytes(8, "big"),
            _with_length(checkpoint.origin),
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        )
    )


def _with_length(name: str) -> bytes:
    octets = name.encode()
    return bytes([len(octets)]) + octets


def _time_of(signature: NoteSignature) -> int:
    return int.from_bytes(signature.octets[:_TIME_OCTETS], "big")


def _checked_name(name: str) -> str:
    if not _NAME.match(name) or len(name.encode()) > _MAX_NAME_OCTETS:
        raise ValueError("a key name has 1 to 255 octets, none a space or plus")
    return name


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii")


def _unbase64(text: str) -> bytes:
    try:
        octets = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise _bad_note("base64 is malformed") from None
    if _base64(octets) != text:
        raise _bad_note("base64 is not canonical")
    return octets


def _bad_note(detail: str) -> Refusal:
    return Refusal(RefusalCode.BAD_PROOF, f"not a note that can be trusted: {detail}")
