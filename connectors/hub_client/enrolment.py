"""Enrolment: the agency makes its keys, pins the hub's, and writes the file that its officer hands to the hub's operator."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from connectors.hub_client.agency_files import Agency, read_json, write_json, write_whole
from connectors.hub_client.trust import HubPins
from hub.crypto.key_files import KeyAlgorithm, read_private_file, write_private_file
from hub.crypto.key_manifest import HeldKey, HeldKeyUse, create_key, write_manifest
from hub.domain.keys import KeyRecord, KeyUse
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.registrations import write_registration

KEY_LIFETIME = timedelta(days=730)
AGENCY_SIGNS = frozenset({SignatureType.MESSAGE, SignatureType.RECEIPT, SignatureType.AGREEMENT})
"""What an agency's signing key is registered for."""

_SEALING_ALGORITHMS = {SealingProfile.PQ_1: KeyAlgorithm.HPKE_9_KE, SealingProfile.CLASSIC_1: KeyAlgorithm.ECDH_ES}
_ROLES = "roles.json"


@dataclass(frozen=True)
class Applicant:
    """Who enrols. `hub` is the hub's public address; `roles` name the offices that have a key of their own for sealed parts."""

    authority: str
    profile: SealingProfile
    hub: str
    roles: tuple[str, ...] = ()


def make_passphrase(path: Path) -> bytes:
    """Write a random passphrase to a file of mode 0600, unless the file is there already; give what it holds.

    Raises:
        Refusal: KEY_FILE_UNSAFE.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private_file(path, secrets.token_urlsafe(32).encode("ascii") + b"\n")
    return read_passphrase(path)


def read_passphrase(path: Path) -> bytes:
    """Read the passphrase, its line end left out.

    Raises:
        Refusal: KEY_FILE_UNSAFE, the file is missing, empty or open to others.
    """
    try:
        passphrase = read_private_file(path).rstrip(b"\r\n")
    except FileNotFoundError:
        raise Refusal(RefusalCode.KEY_FILE_UNSAFE, f"there is no passphrase file {path}") from None
    if not passphrase:
        raise Refusal(RefusalCode.KEY_FILE_UNSAFE, f"the passphrase file {path.name} is empty")
    return passphrase


def enrol(home: Path, applicant: Applicant, pins: HubPins, passphrase: bytes, now: datetime) -> Path:
    """Make an agency's folder.

    Returns:
        The registration file: public keys, for the hub's operator (`hub key import`).

    Raises:
        Refusal: INVALID_PARTY, an agency is enrolled there already; its keys are never overwritten.
    """
    if (home / "agency.json").exists():
        raise Refusal(RefusalCode.INVALID_PARTY, f"{home}: an agency is enrolled here already")
    agency = Agency(home, applicant.authority, applicant.profile, applicant.hub)
    agency.keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    held, roles = _make_keys(agency, applicant.roles, passphrase, now)
    write_manifest(agency.keys, held)
    write_json(agency.keys / _ROLES, roles)
    pins.save(home / "hub.json")
    registration = home / "registration.json"
    write_whole(registration, write_registration(agency.authority, [_public(key, agency, roles) for key in held]))
    agency.save()
    return registration


def role_of(agency: Agency, kid: str) -> str:
    """The role whose key this is, or "" where it is no role key."""
    return str(read_json(agency.keys / _ROLES).get(kid, ""))


def _make_keys(agency: Agency, roles: Sequence[str], passphrase: bytes, now: datetime) -> tuple[list[HeldKey], dict[str, str]]:
    sealing = _SEALING_ALGORITHMS[agency.profile]
    validity = (now.replace(microsecond=0), now.replace(microsecond=0) + KEY_LIFETIME)
    wanted = [
        (HeldKeyUse.SIGNING, KeyAlgorithm.ES256, ""),
        (HeldKeyUse.SEALING, sealing, ""),
        (HeldKeyUse.CLIENT_AUTH, KeyAlgorithm.ES256, ""),
        *((HeldKeyUse.ROLE, sealing, role) for role in roles),
    ]
    made = [(create_key(agency.keys, use, algorithm, validity, passphrase), role) for use, algorithm, role in wanted]
    return [key for key, _ in made], {key.kid: role for key, role in made if role}


def _public(key: HeldKey, agency: Agency, roles: dict[str, str]) -> KeyRecord:
    use = KeyUse(key.use.value)
    return KeyRecord(
        kid=key.kid,
        owner=agency.authority,
        use=use,
        jwk=dict(key.public_jwk),
        state=key.state,
        not_before=key.not_before,
        not_after=key.not_after,
        role=roles.get(key.kid, ""),
        signs=AGENCY_SIGNS if use is KeyUse.SIGNING else frozenset(),
    )
