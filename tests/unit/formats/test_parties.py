"""Parties and their keys as documents: TOML and back, canonical JSON and back, and everything that is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.domain.keys import Custody, KeyState, KeyUse
from hub.domain.parties import ContactPoint, DeliveryMode, PartyKind, SealingProfile, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats.parties import (
    key_document,
    party_document,
    read_key_document,
    read_party,
    read_party_document,
    write_party_toml,
)

COMMITTED = sorted(Path("config/parties").glob("*.toml"))

TRIAL = """
[party]
authority = "tw.npa.liaison.tokyo"
names.en = "Liaison post Tokyo"
names.zh-Hant = "駐東京警察聯絡組"
country = "TW"
kind = "liaison_post"
parent = "tw.npa"
profile = "classic-1"
standing = "suspended"
custody = "hub"

[delivery]
mode = "push"
address = "https://post.example:8443/inbox?from=hub"

[[contact_points]]
unit = "Duty desk"
hours = "24/7"
email = "duty@police.example"
phone = "+81355550101"

[[keys]]
kid = "tokyo-sign-1"
use = "signing"
signs = ["hub-msg+jws", "hub-receipt+jws"]
custody = "hub"
state = "active"
not_before = 2026-01-01T00:00:00Z
not_after = 2028-01-01T00:00:00Z
jwk = { kty = "EC", crv = "P-256", x = "aaaa", y = "bbbb" }

[[keys]]
kid = "tokyo-care-1"
use = "role"
role = "care_team"
state = "next"
not_before = 2026-01-01T00:00:00+09:00
not_after = 2028-01-01T00:00:00+09:00
jwk = { kty = "AKP", alg = "HPKE-9-KE", pub = "cccc" }
"""
KEYS = TRIAL.index("[[keys]]")


def refusal(toml: str, code: RefusalCode = RefusalCode.INVALID_PARTY) -> str:
    """Read what must be refused with this code, and return the place and the rule that it names."""
    with pytest.raises(Refusal) as caught:
        read_party(toml.encode())
    assert caught.value.code is code
    return caught.value.detail


def test_every_field_of_a_party_arrives_in_the_domain() -> None:
    party, _ = read_party(TRIAL.encode())
    assert (party.authority, party.country, party.kind) == ("tw.npa.liaison.tokyo", "TW", PartyKind.LIAISON_POST)
    assert party.names == {"en": "Liaison post Tokyo", "zh-Hant": "駐東京警察聯絡組"}
    assert (party.parent, party.profile, party.standing) == ("tw.npa", SealingProfile.CLASSIC_1, Standing.SUSPENDED)
    assert (party.delivery, party.push_address) == (DeliveryMode.PUSH, "https://post.example:8443/inbox?from=hub")
    assert party.contact_points == (ContactPoint("Duty desk", "24/7", "duty@police.example", "+81355550101"),)
    assert party.custody is Custody.HUB


def test_every_field_of_a_key_arrives_in_the_domain() -> None:
    _, (signing, role) = read_party(TRIAL.encode())
    assert (signing.kid, signing.owner, signing.use) == ("tokyo-sign-1", "tw.npa.liaison.tokyo", KeyUse.SIGNING)
    assert signing.signs == {SignatureType.MESSAGE, SignatureType.RECEIPT}
    assert (signing.custody, signing.state, signing.role) == (Custody.HUB, KeyState.ACTIVE, "")
    assert signing.jwk == {"kty": "EC", "crv": "P-256", "x": "aaaa", "y": "bbbb"}
    assert (role.use, role.role, role.signs, role.custody) == (KeyUse.ROLE, "care_team", frozenset(), Custody.OWN)
    assert role.jwk == {"kty": "AKP", "alg": "HPKE-9-KE", "pub": "cccc"}
    assert (role.not_before, role.not_after) == (
        datetime(2025, 12, 31, 15, tzinfo=UTC),
        datetime(2027, 12, 31, 15, tzinfo=UTC),
    )


def test_what_is_not_said_is_a_party_in_good_standing_with_keys_of_its_own() -> None:
    short = TRIAL[:KEYS].replace('standing = "suspended"\n', "").replace('custody = "hub"\n', "")
    party, keys = read_party(short.encode())
    assert (party.standing, party.custody, keys) == (Standing.GOOD, Custody.OWN, ())


def test_a_party_and_its_keys_come_back_from_toml_and_from_the_database() -> None:
    party, keys = read_party(TRIAL.encode())
    assert read_party(write_party_toml(party, keys).encode()) == (party, keys)
    assert read_party_document(party_document(party)) == party
    assert tuple(read_key_document(key_document(key)) for key in keys) == keys


def test_the_document_of_a_party_holds_no_keys() -> None:
    party, _ = read_party(TRIAL.encode())
    assert b"tokyo-sign-1" not in party_document(party)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_party_is_named_after_its_file_and_comes_back_from_export(path: Path) -> None:
    party, keys = read_party(path.read_bytes())
    assert (party.authority, keys) == (path.stem, ())
    assert read_party(write_party_toml(party).encode()) == (party, ())


def test_the_parents_of_committed_posts_are_parties() -> None:
    parties = [read_party(path.read_bytes())[0] for path in COMMITTED]
    assert {one.parent for one in parties if one.parent} <= {one.authority for one in parties}


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ("[party]", "[party]\nsurprise = 1", "party.surprise: is not a key that is known here"),
        ("[delivery]", "[delivery]\nsurprise = 1", "delivery.surprise: is not a key that is known here"),
        ("[[contact_points]]", "[[contact_points]]\nfax = 1", "contact_points[0].fax: is not a key that is known here"),
        ("[delivery]", "[more]\n[delivery]", "more: is not a key that is known here"),
        ('"tw.npa.liaison.tokyo"', '"TW.NPA"', "party.authority: does not have the form"),
        ('"tw.npa.liaison.tokyo"', '"tw..npa"', "party.authority: does not have the form"),
        ('"tw.npa.liaison.tokyo"', f'"{"a" * 65}"', "party.authority: does not have the form"),
        ('"tw.npa.liaison.tokyo"', '"hub"', "party.kind: the authority hub, and no other"),
        ('kind = "liaison_post"', 'kind = "hub"', "party.kind: the authority hub, and no other"),
        ('kind = "liaison_post"', 'kind = "club"', "party.kind: is none of hub, domestic_agency"),
        ("names.en", "names.de", "party.names: must have an English text"),
        ('country = "TW"', 'country = "Taiwan"', "party.country: does not have the form"),
        ('parent = "tw.npa"\n', "", "party.parent: is missing"),
        ('parent = "tw.npa"', 'parent = "tw.npa.liaison.tokyo"', "party.parent: must be another authority"),
        ('"classic-1"', '"classic-0"', "party.profile: is none of pq-1, classic-1"),
        ('standing = "suspended"', 'standing = "fine"', "party.standing: is none of good, suspended"),
        ('mode = "push"', 'mode = "pull"', "delivery.address: is not a key that is known here"),
        ('mode = "push"', 'mode = "post"', "delivery.mode: is none of pull, push"),
        ("https://post", "http://post", "delivery.address: must be an https address"),
        ("https://post", "https://hub@post", "delivery.address: must be an https address"),
        ("?from=hub", "#hub", "delivery.address: must be an https address"),
        (":8443", ":port", "delivery.address: must be an https address"),
        (":8443", ":0", "delivery.address: must be an https address"),
        ("https://post.example:8443", "https://", "delivery.address: must be an https address"),
        ('hours = "24/7"', 'hours = "now"', "contact_points[0].hours: does not have the form"),
        ("duty@police.example", "duty at police", "contact_points[0].email: does not have the form"),
        ("+81355550101", "03-5555-0101", "contact_points[0].phone: does not have the form"),
        ('email = "duty@police.example"\nphone = "+81355550101"\n', "", "contact_points[0]: must have an email or a phone"),
    ],
)
def test_a_party_that_contradicts_is_refused_with_its_place(old: str, new: str, detail: str) -> None:
    assert old in TRIAL
    assert refusal(TRIAL.replace(old, new, 1)).startswith(detail)


def test_a_party_that_nobody_can_reach_is_refused() -> None:
    alone = TRIAL[: TRIAL.index("[[contact_points]]")]
    assert refusal(alone) == "contact_points: is missing: somebody must be reachable"


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ("[[keys]]", "[[keys]]\nsurprise = 1", "keys[0].surprise: is not a key that is known here"),
        ("[[keys]]", '[[keys]]\nowner = "jp.npa"', "keys[0].owner: is not a key that is known here"),
        ("[[keys]]", "[keys]", "keys: must be a list of tables"),
        ('"tokyo-sign-1"', '"tokyo sign 1"', "keys[0].kid: must be 1 to 64 of"),
        ('"tokyo-sign-1"', '"tokyo-care-1"', "keys: a kid occurs twice"),
        ('use = "signing"', 'use = "sealing"', "keys[0].signs: a signing key, and no other"),
        ('signs = ["hub-msg+jws", "hub-receipt+jws"]\n', "", "keys[0].signs: a signing key, and no other"),
        ('"hub-msg+jws"', '"hub-all+jws"', "keys[0].signs: is none of hub-msg+jws"),
        ('role = "care_team"\n', "", "keys[1].role: a role key, and no other"),
        ('state = "active"', 'state = "lost"', "keys[0].state: is none of next, active"),
        ("2028-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "keys[0].not_after: must be after not_before"),
        ('kty = "EC"', 'kty = "RSA"', "keys[0].jwk.kty: is none of EC, AKP"),
        ('y = "bbbb"', 'y = "bbbb", d = "dddd"', "keys[0].jwk.d: is not a key that is known here"),
        (', y = "bbbb"', "", "keys[0].jwk.y: is missing"),
        ('x = "aaaa"', 'x = "aa=="', "keys[0].jwk.x: does not have the form"),
        (
            'kty = "EC", crv = "P-256", x = "aaaa", y = "bbbb"',
            'kty = "AKP", alg = "a", pub = "b"',
            "keys[0].jwk: a key that signs is of kty EC",
        ),
    ],
)
def test_a_key_that_contradicts_is_refused_with_its_place(old: str, new: str, detail: str) -> None:
    toml = TRIAL if new != "[keys]" else TRIAL[: TRIAL.rindex("[[keys]]")]
    assert old in toml
    assert refusal(toml.replace(old, new, 1), RefusalCode.INVALID_KEY).startswith(detail)


def test_the_members_of_a_private_key_are_refused_in_the_database_too() -> None:
    _, (key, _) = read_party(TRIAL.encode())
    octets = key_document(key).replace(b'"crv":"P-256"', b'"crv":"P-256","d":"dddd"')
    with pytest.raises(Refusal) as caught:
        read_key_document(octets)
    assert (caught.value.code, caught.value.detail) == (RefusalCode.INVALID_KEY, "jwk.d: is not a key that is known here")


def test_a_party_document_that_is_not_canonical_is_refused() -> None:
    party, _ = read_party(TRIAL.encode())
    with pytest.raises(Refusal) as caught:
        read_party_document(party_document(party) + b"\n")
    assert (caught.value.code, caught.value.detail) == (RefusalCode.INVALID_PARTY, "the document is not in canonical form")


def test_a_refusal_does_not_repeat_names_or_addresses() -> None:
    for secret in ("Liaison post Tokyo", "duty@police.example", "+81355550101"):
        assert secret not in refusal(TRIAL.replace(secret, secret + "\\u0000" * 5000, 1))
