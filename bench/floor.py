"""The floor: what the primitives of one accepted message cost by themselves, in CPU time, with nothing around them."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.crypto.sealing import generate_unsealing_key, seal, unseal
from hub.crypto.signatures import generate_signing_key, verify_es256
from hub.domain.parties import SealingProfile

ROUNDS = 400
GROUP = 8


def measure_floor(size: int, folder: Path) -> dict[str, float]:
    """CPU milliseconds of each primitive over `size` bytes, and their sum as `cpu_ms`.

    The commit is one FULL commit of a group of eight rows of that size in plain SQLite, divided by eight.
    """
    octets = secrets.token_bytes(size)
    signing, sealing = generate_signing_key("floor"), generate_unsealing_key("floor", SealingProfile.PQ_1)
    signature = signing.sign(octets)
    sealed = seal(SealingProfile.PQ_1, octets, b"aad", [("floor", sealing.public_jwk)])
    cipher, nonce = AESGCM(secrets.token_bytes(32)), secrets.token_bytes(12)
    parts = {
        "seal_ms": _cpu_ms(lambda: seal(SealingProfile.PQ_1, octets, b"aad", [("floor", sealing.public_jwk)])),
        "open_ms": _cpu_ms(lambda: unseal(sealing, sealed.recipients[0], sealed.content, b"aad")),
        "sign_ms": _cpu_ms(lambda: signing.sign(octets)),
        "verify_ms": _cpu_ms(lambda: verify_es256(signing.public_jwk, octets, signature)),
        "aes_ms": _cpu_ms(lambda: cipher.encrypt(nonce, octets, None)),
        "hash_ms": _cpu_ms(lambda: hashlib.sha256(octets).digest()),
        "commit_ms": _commit_ms(octets, folder / "floor.sqlite"),
    }
    return {**parts, "cpu_ms": sum(parts.values())}


def _cpu_ms(job: Callable[[], object]) -> float:
    job()
    started = time.process_time()
    for _ in range(ROUNDS):
        job()
    return (time.process_time() - started) / ROUNDS * 1000


def _commit_ms(octets: bytes, path: Path) -> float:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, octets BLOB)")

    def group() -> None:
        connection.execute("BEGIN IMMEDIATE")
        for _ in range(GROUP):
            connection.execute("INSERT INTO rows (octets) VALUES (?)", (octets,))
        connection.execute("COMMIT")

    cost = _cpu_ms(group) / GROUP
    connection.close()
    return cost
