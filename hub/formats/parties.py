"""Parties and their public keys as documents: TOML to import and export, canonical JSON for the database."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from hub.domain.encoding import format_time
from hub.domain.keys import Custody, KeyRecord, KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, ContactPoint, DeliveryMode, Party, PartyKind, SealingProfile, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType, is_key_id
from hub.formats.strict_tables import AUTHORITY, Table, from_canonical, gather, load_toml, spread, to_canonical, write_toml

_INVALID = RefusalCode.INVALID_PARTY
_COUNTRY = re.compile(r"[A-Z]{2}\Z")
_HOURS = re.compile(r"(24/7|\S.{4,199})\Z")
_EMAIL = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+\Z")
_PHONE = re.compile(r"\+[1-9][0-9]{1,14}\Z")  # E.164
_ADDRESS = re.compile(r"https://[^\s@#\\]{1,2000}\Z", re.ASCII)
_ROLE = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
_PUBLIC_MEMBERS = {"EC": ("crv", "x", "y"), "AKP": ("alg", "pub")}
_MEMBER = re.compile(r"[A-Za-z0-9_-]{1,4096}\Z")


def read_party(toml_octets: bytes) -> tuple[Party, tuple[KeyRecord, ...]]:
    """Read a party and its public keys from TOML (UTF-8, at most 1 MiB).

    Raises:
        Refusal: INVALID_PARTY or, in `keys`, INVALID_KEY: an unknown or missing key, or a contradiction.
    """
    document = load_toml(toml_octets, _INVALID)
    rows = document.pop("keys", [])
    if not isinstance(rows, list):
        raise Refusal(RefusalCode.INVALID_KEY, "keys: must be a list of tables")
    spread(document.get("party"), "names", "language", "text")
    party = read_party_document(to_canonical(document, _INVALID))
    keys = tuple(_read_key(Table(row, f"keys[{index}]", RefusalCode.INVALID_KEY), party) for index, row in enumerate(rows))
    if len({key.kid for key in keys}) != len(keys):
        raise Refusal(RefusalCode.INVALID_KEY, "keys: a kid occurs twice")
    return party, keys


def write_party_toml(party: Party, keys: Iterable[KeyRecord] = ()) -> str:
    """Write a party and its keys as TOML that `read_party` reads back to the same."""
    document = _describe_party(party)
    head = document["party"]
    if isinstance(head, dict):
        gather(head, "names", "language", "text")
    rows = [_describe_key(key) for key in keys]
    for row in rows:
        del row["owner"]
    return write_toml({**document, "keys": rows}, ("party", "delivery", "contact_points", "keys"))


def party_document(party: Party) -> bytes:
    """The canonical JSON of a party, without its keys."""
    return to_canonical(_describe_party(party), _INVALID)


def read_party_document(octets: bytes) -> Party:
    """Read a party from its canonical JSON.

    Raises:
        Refusal: INVALID_PARTY: as for `read_party`, or the octets are not canonical.
    """
    document = Table(from_canonical(octets, _INVALID), "", _INVALID)
    head = document.table("party")
    delivery = document.table("delivery")
    mode = delivery.code_of("mode", DeliveryMode)
    party = Party(
        authority=head.text("authority", AUTHORITY),
        names=head.names("names"),
        country=head.text("country", _COUNTRY),
        kind=head.code_of("kind", PartyKind),
        profile=head.code_of("profile", SealingProfile),
        delivery=mode,
        push_address=_read_address(delivery) if mode is DeliveryMode.PUSH else "",
        standing=head.code_of("standing", Standing, Standing.GOOD),
        parent=head.text("parent", AUTHORITY, ""),
        custody=head.code_of("custody", Custody, Custody.OWN),
        contact_points=tuple(_read_contact_point(one) for one in document.tables("contact_points")),
    )
    for table in (head, delivery, document):
        table.end()
    _check_place(party)
    return party


def key_document(key: KeyRecord) -> bytes:
    """The canonical JSON of a key record, its owner included."""
    return to_canonical(_describe_key(key), RefusalCode.INVALID_KEY)


def read_key_document(octets: bytes) -> KeyRecord:
    """Read a key record from its canonical JSON. That the key lies on its curve is for the crypto layer to check.

    Raises:
        Refusal: INVALID_KEY.
    """
    table = Table(from_canonical(octets, RefusalCode.INVALID_KEY), "", RefusalCode.INVALID_KEY)
    return _read_key_of(table, table.text("owner", AUTHORITY))


def _read_address(delivery: Table) -> str:
    address = delivery.text("address")
    if not _is_https(address):
        raise delivery.refuse("address", "must be an https address without user name and fragment")
    return address


def _is_https(address: str) -> bool:
    if not _ADDRESS.match(address):
        return False
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _read_contact_point(table: Table) -> ContactPoint:
    point = ContactPoint(
        unit=table.text("unit"),
        hours=table.text("hours", _HOURS),
        email=table.text("email", _EMAIL, ""),
        phone=table.text("phone", _PHONE, ""),
    )
    if not point.email and not point.phone:
        raise table.refuse("", "must have an email or a phone")
    table.end()
    return point


def _check_place(party: Party) -> None:
    if (party.kind is PartyKind.HUB) != (party.authority == HUB_PARTY):
        raise Refusal(_INVALID, f"party.kind: the authority {HUB_PARTY}, and no other, is of kind {PartyKind.HUB}")
    if party.kind is PartyKind.LIAISON_POST and not party.parent:
        raise Refusal(_INVALID, "party.parent: is missing: a liaison post belongs to an authority")
    if party.parent == party.authority:
        raise Refusal(_INVALID, "party.parent: must be another authority")
    if party.kind is not PartyKind.HUB and not party.contact_points:
        raise Refusal(_INVALID, "contact_points: is missing: somebody must be reachable")


def _read_key(table: Table, party: Party) -> KeyRecord:
    if table.has("owner"):
        raise table.refuse("owner", "is not a key that is known here")
    return _read_key_of(table, party.authority)


def _read_key_of(table: Table, owner: str) -> KeyRecord:
    key = KeyRecord(
        kid=table.text("kid"),
        owner=owner,
        use=table.code_of("use", KeyUse),
        jwk=_read_jwk(table.table("jwk")),
        state=table.code_of("state", KeyState),
        not_before=table.moment("not_before"),
        not_after=table.moment("not_after"),
        custody=table.code_of("custody", Custody, Custody.OWN),
        role=table.text("role", _ROLE, ""),
        signs=table.codes_of("signs", SignatureType) if table.has("signs") else frozenset(),
    )
    table.end()
    if not is_key_id(key.kid):
        raise table.refuse("kid", "must be 1 to 64 of A-Z a-z 0-9 . _ -")
    if key.not_after <= key.not_before:
        raise table.refuse("not_after", "must be after not_before")
    if (key.use is KeyUse.ROLE) != bool(key.role):
        raise table.refuse("role", "a role key, and no other, names its role")
    if (key.use is KeyUse.SIGNING) != bool(key.signs):
        raise table.refuse("signs", "a signing key, and no other, says what it signs")
    if key.use in (KeyUse.SIGNING, KeyUse.CLIENT_AUTH) and key.jwk["kty"] != "EC":
        raise table.refuse("jwk", "a key that signs is of kty EC")
    return key


def _read_jwk(table: Table) -> dict[str, str]:
    kind = table.text("kty")
    if kind not in _PUBLIC_MEMBERS:
        raise table.refuse("kty", f"is none of {', '.join(_PUBLIC_MEMBERS)}")
    jwk = {"kty": kind} | {name: table.text(name, _MEMBER) for name in _PUBLIC_MEMBERS[kind]}
    table.end()
    return jwk


def _describe_party(party: Party) -> dict[str, object]:
    head: dict[str, object] = {
        "authority": party.authority,
        "names": [{"language": language, "text": text} for language, text in party.names.items()],
        "country": party.country,
        "kind": party.kind.value,
        "parent": party.parent,
        "profile": party.profile.value,
        "standing": party.standing.value,
        "custody": party.custody.value,
    }
    delivery: dict[str, object] = {"mode": party.delivery.value, "address": party.push_address}
    points = [
        _filled({"unit": one.unit, "hours": one.hours, "email": one.email, "phone": one.phone}) for one in party.contact_points
    ]
    return {"party": _filled(head), "delivery": _filled(delivery), "contact_points": points}


def _describe_key(key: KeyRecord) -> dict[str, object]:
    return _filled(
        {
            "kid": key.kid,
            "owner": key.owner,
            "use": key.use.value,
            "role": key.role,
            "signs": sorted(one.value for one in key.signs),
            "custody": key.custody.value,
            "state": key.state.value,
            "not_before": format_time(key.not_before),
            "not_after": format_time(key.not_after),
            "jwk": dict(key.jwk),
        }
    )


def _filled(members: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value not in ("", [])}
