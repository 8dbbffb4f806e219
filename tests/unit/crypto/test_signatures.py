import hashlib

import pytest

from hub.crypto.signatures import check_public_jwk, generate_signing_key, signing_key_from_jwk, verify_es256
from hub.domain.encoding import b64url_encode
from hub.domain.refusals import Refusal, RefusalCode
from tests.vectors.files import read_json

EXAMPLE = read_json("wire/classic-1.json")
PUBLIC = {name: EXAMPLE["sender"][name] for name in ("kty", "crv", "x", "y")}
HYBRID = {name: read_json("wire/hpke-9-ke-key.json")[name] for name in ("kty", "alg", "pub")}
KEY = signing_key_from_jwk(EXAMPLE["sender"])
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGNATURE = KEY.sign(b"octets")


def refusal_of(jwk: dict[str, str], octets: bytes, signature: bytes) -> RefusalCode:
    with pytest.raises(Refusal) as caught:
        verify_es256(jwk, octets, signature)
    return caught.value.code


def test_a_signature_is_the_one_of_rfc_6979() -> None:
    # RFC 6979 appendix A.2.5: P-256, SHA-256, message "sample"
    secret = bytes.fromhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
    key = signing_key_from_jwk({"kty": "EC", "crv": "P-256", "kid": "rfc6979", "d": b64url_encode(secret)})
    assert key.sign(b"sample").hex().upper() == (
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )


def test_a_signature_verifies_with_the_public_key_alone() -> None:
    assert KEY.public_jwk == PUBLIC
    verify_es256(PUBLIC, b"octets", SIGNATURE)


def test_the_other_s_verifies_too_because_low_s_is_not_required() -> None:
    s = int.from_bytes(SIGNATURE[32:], "big")
    verify_es256(PUBLIC, b"octets", SIGNATURE[:32] + (ORDER - s).to_bytes(32, "big"))


def test_a_signature_with_leading_zeros_keeps_its_64_octets() -> None:
    with_zero = next(KEY.sign(bytes([n // 256, n % 256])) for n in range(65_536) if KEY.sign(bytes([n // 256, n % 256]))[0] == 0)
    assert len(with_zero) == 64


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_an_altered_signature_is_refused(position: int) -> None:
    altered = bytearray(SIGNATURE)
    altered[position] ^= 1
    assert refusal_of(PUBLIC, b"octets", bytes(altered)) is RefusalCode.BAD_SIGNATURE


def test_altered_octets_are_refused() -> None:
    assert refusal_of(PUBLIC, b"octet5", SIGNATURE) is RefusalCode.BAD_SIGNATURE


def test_another_key_is_refused() -> None:
    assert refusal_of(generate_signing_key("other").public_jwk, b"octets", SIGNATURE) is RefusalCode.BAD_SIGNATURE


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        bytes(64),
        SIGNATURE[:63],
        SIGNATURE + b"\0",
        SIGNATURE[:32] + bytes(32),
        bytes(32) + SIGNATURE[32:],
        SIGNATURE[:32] + ORDER.to_bytes(32, "big"),
        b"\xff" * 64,
        b"\x30\x44\x02\x20" + SIGNATURE[:32] + b"\x02\x20" + SIGNATURE[32:],
    ],
    ids=["empty", "zeros", "short", "long", "s is 0", "r is 0", "s is n", "all ones", "DER"],
)
def test_a_signature_of_another_form_is_refused(signature: bytes) -> None:
    assert refusal_of(PUBLIC, b"octets", signature) is RefusalCode.BAD_SIGNATURE


def test_a_key_of_another_kind_verifies_nothing() -> None:
    octets = b"octets"
    assert refusal_of(HYBRID, octets, SIGNATURE) is RefusalCode.KEY_NOT_VALID
    assert refusal_of({"kty": "oct", "k": PUBLIC["x"]}, octets, hashlib.sha256(octets).digest()) is RefusalCode.KEY_NOT_VALID


def test_a_good_key_is_registered() -> None:
    check_public_jwk(PUBLIC)


@pytest.mark.parametrize(
    "jwk",
    [
        EXAMPLE["sender"],
        PUBLIC | {"use": "sig"},
        PUBLIC | {"alg": "ES256"},
        {"kty": "EC", "crv": "P-256", "x": PUBLIC["x"]},
        PUBLIC | {"crv": "P-384"},
        PUBLIC | {"x": "A" * 42},
        PUBLIC | {"x": "A" * 43, "y": "A" * 43},
        PUBLIC | {"y": PUBLIC["x"]},
        PUBLIC | {"x": PUBLIC["x"] + "="},
        PUBLIC | {"x": 1},
        HYBRID,
        {},
    ],
    ids=[
        "private",
        "use",
        "alg",
        "no y",
        "curve",
        "31 octets",
        "infinity",
        "off the curve",
        "padding",
        "type",
        "hybrid",
        "empty",
    ],
)
def test_a_key_that_is_not_exactly_a_public_p256_key_is_not_registered(jwk: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        check_public_jwk(jwk)
    assert caught.value.code is RefusalCode.INVALID_KEY


@pytest.mark.parametrize("change", [{"d": ""}, {"d": "A" * 43}, {"d": "A" * 42}, {"crv": "P-384"}, {"d": "*"}])
def test_a_malformed_private_key_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(Refusal) as caught:
        signing_key_from_jwk(EXAMPLE["sender"] | change)
    assert caught.value.code is RefusalCode.INVALID_KEY


def test_a_private_key_does_not_show_itself() -> None:
    assert repr(KEY) == "SigningKey(sender-1)"
