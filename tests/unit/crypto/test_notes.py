import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from hub.crypto import notes
from hub.domain.refusals import Refusal, RefusalCode
from tests.vectors.files import read_json

ORIGIN = "accord.example/log"
SIGNER = notes.LogSigner(ORIGIN, ed25519.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32))
COSIGNER = notes.Cosigner(ORIGIN, mldsa.MLDSA44PrivateKey.from_seed_bytes(b"\x02" * 32))
WITNESS = notes.Cosigner("jp.npa", mldsa.MLDSA44PrivateKey.from_seed_bytes(b"\x03" * 32))
CHECKPOINT = notes.Checkpoint(ORIGIN, 42, bytes(range(32)))
TIME = 1_795_339_800
SIGNATURE, COSIGNATURE = SIGNER.sign(CHECKPOINT), COSIGNER.cosign(CHECKPOINT, TIME)
NOTE = notes.write_note(CHECKPOINT, [SIGNATURE, COSIGNATURE])


def refusal_of(octets: bytes, *cosigners: notes.NoteKey) -> Refusal:
    with pytest.raises(Refusal) as caught:
        notes.verify_checkpoint(octets, SIGNER.key, cosigners)
    return caught.value


def test_a_checkpoint_verifies_and_tells_who_signed_when() -> None:
    verified = notes.verify_checkpoint(NOTE, SIGNER.key, [COSIGNER.key, WITNESS.key])
    assert verified.checkpoint == CHECKPOINT
    assert verified.signers == (SIGNER.key, COSIGNER.key)
    assert verified.cosigned_at == ((COSIGNER.key, TIME),)


def test_the_text_of_a_checkpoint_is_three_lines() -> None:
    assert CHECKPOINT.text == f"{ORIGIN}\n42\n{base64.b64encode(bytes(range(32))).decode()}\n"
    assert NOTE.startswith(CHECKPOINT.text.encode() + b"\n\xe2\x80\x94 " + ORIGIN.encode() + b" ")


@pytest.mark.parametrize("vector", read_json("tlog/signed-notes.json"), ids=lambda vector: vector["name"])
def test_a_note_that_another_implementation_signed_verifies(vector: dict[str, str]) -> None:
    key, note = notes.parse_vkey(vector["vkey"]), notes.parse_note(vector["note"].encode())
    assert (note.signatures[0].name, note.signatures[0].key_id) == (key.name, key.key_id)
    notes.verify_note_signature(key, note.text, note.signatures[0])
    with pytest.raises(Refusal) as caught:
        notes.verify_note_signature(key, note.text.replace("a", "b", 1), note.signatures[0])
    assert caught.value.code is RefusalCode.BAD_PROOF


def test_the_octets_of_a_cosignature_are_those_of_its_format() -> None:
    message = b"".join(
        [
            b"subtree/v1\n\x00",
            bytes([len("jp.npa")]) + b"jp.npa",
            TIME.to_bytes(8, "big"),
            bytes([len(ORIGIN)]) + ORIGIN.encode(),
            bytes(8),
            (42).to_bytes(8, "big"),
            bytes(range(32)),
        ]
    )
    cosignature = WITNESS.cosign(CHECKPOINT, TIME)
    assert cosignature.octets[:8] == TIME.to_bytes(8, "big")
    assert len(cosignature.octets) == 8 + 2420
    mldsa.MLDSA44PublicKey.from_public_bytes(WITNESS.key.public).verify(cosignature.octets[8:], message)


@pytest.mark.parametrize("key", [SIGNER.key, COSIGNER.key, WITNESS.key], ids=["log", "cosigner", "witness"])
def test_a_verifier_key_is_read_as_it_was_written(key: notes.NoteKey) -> None:
    assert notes.parse_vkey(key.vkey) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        SIGNER.key.vkey + "=",
        SIGNER.key.vkey.replace("+", "+0", 1),
        SIGNER.key.vkey.replace("accord", "acc0rd"),
        SIGNER.key.vkey.replace("accord", "acc rd"),
        replace(SIGNER.key, public=bytes(range(31))).vkey,
        "name+00000000+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
    ],
)
def test_a_verifier_key_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        notes.parse_vkey(text)
    assert caught.value.code is RefusalCode.INVALID_KEY


@pytest.mark.parametrize(
    "public",
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_a_point_of_small_order_is_never_pinned(public: str) -> None:
    with pytest.raises(Refusal) as caught:
        notes.parse_vkey(notes.NoteKey(ORIGIN, notes.KeyType.ED25519, bytes.fromhex(public)).vkey)
    assert caught.value.detail == "an Ed25519 point of small order"


def test_a_signature_by_an_unknown_key_is_not_looked_at() -> None:
    strange = notes.NoteSignature("someone", b"\0\0\0\0", b"not a signature")
    verified = notes.verify_checkpoint(notes.write_note(CHECKPOINT, [strange, SIGNATURE]), SIGNER.key)
    assert verified.signers == (SIGNER.key,)


def test_one_failing_signature_by_a_known_key_spoils_the_note() -> None:
    bad = replace(COSIGNATURE, octets=COSIGNATURE.octets[:-1] + bytes([COSIGNATURE.octets[-1] ^ 1]))
    refusal = refusal_of(notes.write_note(CHECKPOINT, [SIGNATURE, bad]), COSIGNER.key)
    assert (refusal.code, "does not verify" in refusal.detail) == (RefusalCode.BAD_PROOF, True)


def test_a_cosignature_with_another_time_does_not_verify() -> None:
    moved = replace(COSIGNATURE, octets=(TIME + 1).to_bytes(8, "big") + COSIGNATURE.octets[8:])
    assert refusal_of(notes.write_note(CHECKPOINT, [SIGNATURE, moved]), COSIGNER.key).code is RefusalCode.BAD_PROOF


def test_a_cosignature_cut_off_does_not_verify() -> None:
    short = replace(COSIGNATURE, octets=COSIGNATURE.octets[:5])
    assert refusal_of(notes.write_note(CHECKPOINT, [SIGNATURE, short]), COSIGNER.key).code is RefusalCode.BAD_PROOF


@pytest.mark.parametrize(
    "other", [replace(CHECKPOINT, size=43), replace(CHECKPOINT, root=bytes(32))], ids=["another size", "another root"]
)
def test_a_signature_over_another_checkpoint_does_not_verify(other: notes.Checkpoint) -> None:
    assert "does not verify" in refusal_of(notes.write_note(other, [SIGNATURE])).detail


def test_a_checkpoint_without_the_logs_own_signature_is_refused() -> None:
    assert "the log's signature is missing" in refusal_of(notes.write_note(CHECKPOINT, [COSIGNATURE]), COSIGNER.key).detail


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = replace(CHECKPOINT, origin="other.example/log")
    assert "of another log" in refusal_of(notes.write_note(other, [SIGNER.sign(other)])).detail


LINE = SIGNATURE.line.encode()
BODY = CHECKPOINT.text.encode()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        BODY,
        BODY + b"\n",
        BODY + LINE,
        BODY + b"\n" + LINE[:-1],
        BODY + b"\n" + LINE + b"\n",
        BODY + b"\n" + LINE.replace(b"\xe2\x80\x94", b"-"),
        BODY + b"\n" + LINE.replace(b" ", b"  ", 1),
        BODY + b"\n" + LINE[:-1] + b" x\n",
        BODY + b"\n" + LINE[:-1] + b"=\n",
        BODY + b"\n" + LINE[:-2] + b"B\n",
        BODY + b"\n\xe2\x80\x94 name AAAAAA==\n",
        BODY.replace(b"\n", b"\r\n") + b"\n" + LINE,
        BODY + b"\n" + LINE.replace(b"\n", b"\r\n"),
        b"\x00" + BODY + b"\n" + LINE,
        b"\xff" + BODY + b"\n" + LINE,
        BODY + b"\n" + LINE * 65,
        BODY + b"\n" + LINE + b"x" * notes.MAX_NOTE_BYTES,
    ],
)
def test_a_note_of_another_form_is_refused(octets: bytes) -> None:
    assert refusal_of(octets).code is RefusalCode.BAD_PROOF


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{ORIGIN}\n42\n",
        f"{ORIGIN}\n042\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n{'9' * 20}\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n٤٢\n{base64.b64encode(bytes(32)).decode()}\n",
        f"\n42\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n42\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n42\n{base64.b64encode(bytes(32)).decode()}",
        f"{ORIGIN}\n42\n{base64.b64encode(bytes(32)).decode()}\nextension\n",
    ],
)
def test_a_checkpoint_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        notes.parse_checkpoint(text)
    assert caught.value.code is RefusalCode.BAD_PROOF


def test_a_note_is_split_at_its_last_blank_line() -> None:
    note = notes.parse_note(b"a\n\nb\n\n" + LINE)
    assert (note.text, note.signatures) == ("a\n\nb\n", (SIGNATURE,))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "x" * 256])
def test_a_name_that_cannot_stand_in_a_note_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        notes.LogSigner(name, ed25519.Ed25519PrivateKey.generate())
