import dataclasses
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hub.crypto import sealing
from hub.crypto.jwks import load_hybrid
from hub.crypto.sealing import (
    UnsealingKey,
    check_sealing_jwk,
    generate_unsealing_key,
    seal,
    seal_part,
    unseal,
    unsealing_key_from_jwk,
    unsealing_key_from_seed,
)
from hub.crypto.signatures import verify_es256
from hub.domain.encoding import b64url_decode, b64url_encode
from hub.domain.parties import SealingProfile
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.sealing import EncryptedContent, WrappedKey
from hub.formats import jwe, jws
from tests.vectors.files import FOLDER, read_json

CLASSIC, HYBRID, XML = (read_json(f"wire/{name}.json") for name in ("classic-1", "pq-1", "xml"))
SCHEDULE = read_json("wire/pq-1-keyschedule.json")
DRAFT_KEY = read_json("wire/hpke-9-ke-key.json")
KEYS = {profile: generate_unsealing_key(f"key-{profile}", profile) for profile in SealingProfile}
AAD = b"protected"
DRAFT_PLAINTEXT_SHA256 = "f5c3e318a8c09ba078afdf853fcbb871e91844fa444ee8764bacf5dece5bc8b4"  # RFC 7520 figure 72


def sealed_for(key: UnsealingKey, plaintext: bytes = b"text") -> tuple[WrappedKey, EncryptedContent]:
    sealed = seal(key.profile, plaintext, AAD, [(key.kid, key.public_jwk)])
    return sealed.recipients[0], sealed.content


def refusal_of(key: UnsealingKey, wrapped: WrappedKey, content: EncryptedContent, aad: bytes = AAD) -> Refusal:
    with pytest.raises(Refusal) as caught:
        unseal(key, wrapped, content, aad)
    return caught.value


@pytest.mark.parametrize(("example", "name", "index"), [(CLASSIC, "a", 0), (CLASSIC, "b", 1), (HYBRID, "a", 0), (HYBRID, "b", 1)])
def test_the_worked_examples_open_and_verify(example: dict[str, dict[str, str]], name: str, index: int) -> None:
    envelope = jwe.open_envelope(json.dumps(example["jwe"]).encode(), 100_000)
    key = unsealing_key_from_jwk(example[name])
    assert key.public_jwk.items() <= example[name].items()
    plaintext = unseal(key, envelope.recipients[index], envelope.content, envelope.aad)
    signed = jws.parse_general(plaintext, jws.COUNTERSIGNED_MESSAGE)
    verify_es256(CLASSIC["sender"], signed.signing_input(0), signed.elements[0].signature)
    verify_es256(CLASSIC["hub"], signed.signing_input(1), signed.elements[1].signature)
    assert signed.payload.decode() == CLASSIC["payload"]


def test_the_worked_example_in_xml_opens_to_the_same_octets() -> None:
    envelope = jwe.open_envelope(json.dumps(XML["jwe"]).encode(), 100_000)
    plaintext = unseal(unsealing_key_from_jwk(CLASSIC["a"]), envelope.recipients[0], envelope.content, envelope.aad)
    assert plaintext.decode() == XML["xml"]


def key_schedule(shared_secret: bytes) -> tuple[bytes, bytes, bytes]:
    """The one-stage HPKE key schedule as it is written down for those who have no HPKE library."""
    info = bytes.fromhex(HYBRID["info_hex"])
    fields = (b"\x00\x00\x00\x20", shared_secret, b"HPKE-v1", bytes.fromhex(SCHEDULE["suite_id"]), b"\x00\x06secret", b"\x00\x6c")
    octets = hashlib.shake_256(b"".join(fields) + b"\x00" + b"\x00\x00" + len(info).to_bytes(2, "big") + info).digest(108)
    return octets[:32], octets[32:44], octets[44:]


def test_the_key_schedule_gives_its_known_answers() -> None:
    answers = key_schedule(bytes.fromhex(SCHEDULE["shared_secret"]))
    assert [answer.hex() for answer in answers] == [SCHEDULE[name] for name in ("key", "base_nonce", "exporter_secret")]


def test_what_the_library_unwraps_is_what_the_written_key_schedule_unwraps() -> None:
    key, nonce, _ = key_schedule(bytes.fromhex(SCHEDULE["example_shared_secret_a"]))
    assert (key.hex(), nonce.hex()) == (SCHEDULE["example_key"], SCHEDULE["example_nonce"])
    wrapped = jwe.open_envelope(json.dumps(HYBRID["jwe"]).encode(), 100_000).recipients[0]
    by_hand = AESGCM(key).decrypt(nonce, wrapped.encrypted_key, b"")
    assert by_hand == unsealing_key_from_jwk(HYBRID["a"]).unwrap(wrapped) == bytes.fromhex(SCHEDULE["example_cek"])


def test_the_vector_of_the_draft_opens_in_its_compact_form() -> None:
    text = (FOLDER / "wire/hpke-9-ke-compact.txt").read_text().strip()
    protected, *parts = text.split(".")
    encrypted_key, iv, ciphertext, tag = (b64url_decode(part) for part in parts)
    header = json.loads(b64url_decode(protected))
    wrapped = WrappedKey(DRAFT_KEY["kid"], b64url_decode(header["ek"]), encrypted_key)
    content = EncryptedContent(iv, ciphertext, tag)
    plaintext = unseal(unsealing_key_from_jwk(DRAFT_KEY), wrapped, content, protected.encode())
    assert hashlib.sha256(plaintext).hexdigest() == DRAFT_PLAINTEXT_SHA256


def test_the_vector_of_the_draft_opens_in_its_flattened_form_with_aad() -> None:
    vector = read_json("wire/hpke-9-ke-flattened.json")
    header = json.loads(b64url_decode(vector["protected"]))
    wrapped = WrappedKey(DRAFT_KEY["kid"], b64url_decode(header["ek"]), b64url_decode(vector["encrypted_key"]))
    content = EncryptedContent(*(b64url_decode(vector[name]) for name in ("iv", "ciphertext", "tag")))
    plaintext = unseal(unsealing_key_from_jwk(DRAFT_KEY), wrapped, content, f"{vector['protected']}.{vector['aad']}".encode())
    assert hashlib.sha256(plaintext).hexdigest() == DRAFT_PLAINTEXT_SHA256


@pytest.mark.parametrize("profile", SealingProfile)
@pytest.mark.parametrize("length", [0, 1, 100_000])
def test_what_was_sealed_opens(profile: SealingProfile, length: int) -> None:
    wrapped, content = sealed_for(KEYS[profile], bytes(length))
    assert unseal(KEYS[profile], wrapped, content, AAD) == bytes(length)
    assert (len(content.iv), len(content.ciphertext), len(content.tag)) == (12, length, 16)


@pytest.mark.parametrize("profile", SealingProfile)
def test_each_of_several_recipients_opens_with_its_own_key(profile: SealingProfile) -> None:
    keys = [generate_unsealing_key(f"k{number}", profile) for number in range(3)]
    sealed = seal(profile, b"text", AAD, [(key.kid, key.public_jwk) for key in keys])
    assert [unseal(key, wrapped, sealed.content, AAD) for key, wrapped in zip(keys, sealed.recipients, strict=True)] == [
        b"text"
    ] * 3
    assert len({wrapped.encapsulated for wrapped in sealed.recipients}) == 3


@pytest.mark.parametrize("profile", SealingProfile)
def test_two_seals_of_one_text_share_nothing(profile: SealingProfile) -> None:
    (first, one), (second, two) = sealed_for(KEYS[profile]), sealed_for(KEYS[profile])
    assert first.encapsulated != second.encapsulated
    assert one.iv != two.iv
    assert one.ciphertext != two.ciphertext


@pytest.mark.parametrize("profile", SealingProfile)
@pytest.mark.parametrize("part", ["encapsulated", "encrypted_key", "iv", "ciphertext", "tag", "aad"])
def test_an_alteration_anywhere_is_refused(profile: SealingProfile, part: str) -> None:
    wrapped, content = sealed_for(KEYS[profile])
    parts = {"aad": AAD} | vars(wrapped) | vars(content)
    for position in (0, len(parts[part]) // 2, len(parts[part]) - 1):
        altered = bytearray(parts[part])
        altered[position] ^= 1
        changed = parts | {part: bytes(altered)}
        refusal = refusal_of(
            KEYS[profile],
            WrappedKey(wrapped.kid, changed["encapsulated"], changed["encrypted_key"]),
            EncryptedContent(changed["iv"], changed["ciphertext"], changed["tag"]),
            changed["aad"],
        )
        assert (refusal.code, refusal.detail) == (RefusalCode.CANNOT_UNSEAL, Refusal(RefusalCode.CANNOT_UNSEAL).detail)


@pytest.mark.parametrize("profile", SealingProfile)
def test_another_key_of_the_same_id_is_refused(profile: SealingProfile) -> None:
    other = generate_unsealing_key(KEYS[profile].kid, profile)
    assert refusal_of(other, *sealed_for(KEYS[profile])).code is RefusalCode.CANNOT_UNSEAL


@pytest.mark.parametrize("profile", SealingProfile)
def test_an_entry_under_another_key_id_is_refused_even_where_the_key_would_open_it(profile: SealingProfile) -> None:
    wrapped, content = sealed_for(KEYS[profile])
    assert refusal_of(KEYS[profile], dataclasses.replace(wrapped, kid="other"), content).code is RefusalCode.CANNOT_UNSEAL


def test_a_key_of_the_other_profile_is_refused() -> None:
    classic, hybrid = KEYS[SealingProfile.CLASSIC_1], KEYS[SealingProfile.PQ_1]
    wrapped, content = sealed_for(classic)
    assert refusal_of(hybrid, dataclasses.replace(wrapped, kid=hybrid.kid), content).code is RefusalCode.CANNOT_UNSEAL


@pytest.mark.parametrize("point", [b"", b"\x04" + bytes(64), b"\x04" + b"\xff" * 64, b"\x00" + bytes(64)])
def test_an_ephemeral_point_off_the_curve_is_refused(point: bytes) -> None:
    key = KEYS[SealingProfile.CLASSIC_1]
    wrapped, content = sealed_for(key)
    assert refusal_of(key, dataclasses.replace(wrapped, encapsulated=point), content).code is RefusalCode.CANNOT_UNSEAL


def test_a_wrapped_key_of_another_length_is_refused() -> None:
    key = KEYS[SealingProfile.PQ_1]
    sealed = sealing._HPKE_SUITE.encrypt(bytes(16), load_hybrid(key.public_jwk), sealing._HPKE_INFO)
    wrapped, content = WrappedKey(key.kid, sealed[:1120], sealed[1120:]), sealed_for(key)[1]
    assert refusal_of(key, wrapped, content).code is RefusalCode.CANNOT_UNSEAL


def test_a_text_is_not_sealed_to_nobody() -> None:
    with pytest.raises(ValueError, match="at least one recipient"):
        seal(SealingProfile.PQ_1, b"text", AAD, [])


def test_a_text_is_not_sealed_to_a_key_of_another_profile() -> None:
    key = KEYS[SealingProfile.CLASSIC_1]
    with pytest.raises(ValueError, match="HPKE-9-KE"):
        seal(SealingProfile.PQ_1, b"text", AAD, [(key.kid, key.public_jwk)])


@pytest.mark.parametrize("profile", SealingProfile)
def test_a_sealed_part_opens_from_its_text_alone(profile: SealingProfile) -> None:
    key, message_id = KEYS[profile], "01930000-0000-7000-8000-000000000001"
    recipient = (key.kid, key.public_jwk)
    protected, sealed = seal_part(
        profile, b"name", recipient, lambda wrapped: jwe.part_header(profile, message_id, "/a", wrapped)
    )
    part = jwe.parse_part(jwe.serialise_part(protected, sealed.recipients[0], sealed.content))
    assert (unseal(key, part.recipient, part.content, part.aad), part.path) == (b"name", "/a")


def test_a_sealed_part_does_not_open_at_another_path() -> None:
    key, message_id = KEYS[SealingProfile.CLASSIC_1], "01930000-0000-7000-8000-000000000001"
    recipient = (key.kid, key.public_jwk)
    _, sealed = seal_part(key.profile, b"name", recipient, lambda one: jwe.part_header(key.profile, message_id, "/a", one))
    elsewhere = jwe.part_header(key.profile, message_id, "/b", sealed.recipients[0])
    refusal = refusal_of(key, sealed.recipients[0], sealed.content, elsewhere.encode())
    assert refusal.code is RefusalCode.CANNOT_UNSEAL


@pytest.mark.parametrize("profile", SealingProfile)
def test_a_good_sealing_key_is_registered_under_its_profile(profile: SealingProfile) -> None:
    assert check_sealing_jwk(KEYS[profile].public_jwk) is profile


def hybrid_jwk(mlkem: bytes, x25519: bytes) -> dict[str, str]:
    return {"kty": "AKP", "alg": "HPKE-9-KE", "pub": b64url_encode(mlkem + x25519)}


PUB = b64url_decode(KEYS[SealingProfile.PQ_1].public_jwk["pub"])
CLASSIC_JWK = KEYS[SealingProfile.CLASSIC_1].public_jwk


@pytest.mark.parametrize(
    "jwk",
    [
        hybrid_jwk(b"\xff\xff\xff" + PUB[3:1184], PUB[1184:]),
        hybrid_jwk(PUB[:1184], bytes(32)),
        hybrid_jwk(PUB[:1184], b"\x01" + bytes(31)),
        hybrid_jwk(PUB[:1184], PUB[1184:-1]),
        KEYS[SealingProfile.PQ_1].public_jwk | {"priv": "A" * 43},
        KEYS[SealingProfile.PQ_1].public_jwk | {"alg": "HPKE-10-KE"},
        CLASSIC_JWK | {"d": "A" * 43},
        CLASSIC_JWK | {"use": "enc"},
        CLASSIC_JWK | {"y": CLASSIC_JWK["x"]},
        {"kty": "OKP", "crv": "X25519", "x": "A" * 43},
        {},
    ],
    ids=["not reduced", "zero", "low order", "short", "priv", "HPKE-10", "d", "use", "off the curve", "OKP", "empty"],
)
def test_a_bad_sealing_key_is_not_registered(jwk: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        check_sealing_jwk(jwk)
    assert caught.value.code is RefusalCode.INVALID_KEY


@pytest.mark.parametrize("change", [{"priv": "A" * 42}, {"alg": "X-Wing"}, {"priv": ""}])
def test_a_malformed_private_sealing_key_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        unsealing_key_from_jwk(DRAFT_KEY | change)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_seed_of_another_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        unsealing_key_from_seed("k", bytes(31))
