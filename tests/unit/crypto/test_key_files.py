import base64
import json
import os
import subprocess
from pathlib import Path

import pytest

from hub.crypto.key_files import KeyAlgorithm, PrivateKey, generate, load_key, read_private_file, store_key, write_private_file
from hub.domain.refusals import Refusal, RefusalCode

PASSPHRASE = b"correct horse"


def refusal_of(path: Path, algorithm: KeyAlgorithm, passphrase: bytes = PASSPHRASE) -> RefusalCode:
    with pytest.raises(Refusal) as caught:
        load_key(path, algorithm, passphrase)
    return caught.value.code


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    store_key(tmp_path / "key", generate(KeyAlgorithm.ML_DSA_44), PASSPHRASE)
    return tmp_path / "key"


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_stored_key_loads_again(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm)
    store_key(tmp_path / "key", key, PASSPHRASE)
    assert load_key(tmp_path / "key", algorithm, PASSPHRASE) == key
    assert len(key.secret) == 32


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_the_file_is_for_its_owner_alone_and_does_not_hold_the_secret(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm)
    store_key(tmp_path / "key", key, PASSPHRASE)
    octets = (tmp_path / "key").read_bytes()
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert key.secret not in octets
    assert base64.b64encode(key.secret) not in octets
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ES256, KeyAlgorithm.ED25519, KeyAlgorithm.HPKE_9_KE])
def test_another_passphrase_is_refused(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    store_key(tmp_path / "key", generate(algorithm), PASSPHRASE)
    assert refusal_of(tmp_path / "key", algorithm, b"wrong") is RefusalCode.KEY_FILE_UNSAFE


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (KeyAlgorithm.ES256, KeyAlgorithm.ED25519),
        (KeyAlgorithm.ED25519, KeyAlgorithm.ES256),
        (KeyAlgorithm.ML_DSA_44, KeyAlgorithm.HPKE_9_KE),
        (KeyAlgorithm.ES256, KeyAlgorithm.A256GCM),
        (KeyAlgorithm.A256GCM, KeyAlgorithm.ES256),
    ],
)
def test_a_key_does_not_load_as_another_algorithm(tmp_path: Path, written: KeyAlgorithm, read: KeyAlgorithm) -> None:
    store_key(tmp_path / "key", generate(written), PASSPHRASE)
    assert refusal_of(tmp_path / "key", read) is RefusalCode.KEY_FILE_UNSAFE


def test_a_key_on_another_curve_is_refused(tmp_path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-aes256", "-pass", "pass:x"]
    pem = subprocess.run(command, check=True, capture_output=True).stdout
    write_private_file(tmp_path / "key", pem)
    assert refusal_of(tmp_path / "key", KeyAlgorithm.ES256, b"x") is RefusalCode.KEY_FILE_UNSAFE


def test_a_key_that_openssl_encrypted_loads(tmp_path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:x"]
    pem = subprocess.run(command, check=True, capture_output=True).stdout
    write_private_file(tmp_path / "key", pem)
    assert load_key(tmp_path / "key", KeyAlgorithm.ES256, b"x").public_jwk["crv"] == "P-256"


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ES256, KeyAlgorithm.ED25519])
def test_openssl_reads_what_was_written(tmp_path: Path, algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm)
    store_key(tmp_path / "key", key, PASSPHRASE)
    command = ["openssl", "pkey", "-in", str(tmp_path / "key"), "-passin", f"pass:{PASSPHRASE.decode()}", "-noout", "-text"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    digits = "".join(text.partition("priv:")[2].partition("pub:")[0].split()).replace(":", "")
    assert digits.removeprefix("00").endswith(key.secret.hex().removeprefix("00"))


def test_an_unencrypted_key_is_refused(tmp_path: Path) -> None:
    command = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
    write_private_file(tmp_path / "key", subprocess.run(command, check=True, capture_output=True).stdout)
    assert refusal_of(tmp_path / "key", KeyAlgorithm.ES256) is RefusalCode.KEY_FILE_UNSAFE


@pytest.mark.parametrize("name", ["salt", "nonce", "sealed", "form"])
def test_an_altered_seed_file_is_refused(stored: Path, name: str) -> None:
    members = json.loads(stored.read_bytes())
    members[name] = base64.b64encode(bytes(len(members[name]) // 4 * 3)).decode()
    stored.write_text(json.dumps(members))
    assert refusal_of(stored, KeyAlgorithm.ML_DSA_44) is RefusalCode.KEY_FILE_UNSAFE


@pytest.mark.parametrize("octets", [b"", b"{}", b"[]", b"\xff", b"{"])
def test_a_file_of_another_form_is_refused(stored: Path, octets: bytes) -> None:
    stored.write_bytes(octets)
    assert refusal_of(stored, KeyAlgorithm.ML_DSA_44) is RefusalCode.KEY_FILE_UNSAFE
    assert refusal_of(stored, KeyAlgorithm.ES256) is RefusalCode.KEY_FILE_UNSAFE


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o701])
def test_a_file_that_is_open_to_others_is_refused(stored: Path, mode: int) -> None:
    stored.chmod(mode)
    assert refusal_of(stored, KeyAlgorithm.ML_DSA_44) is RefusalCode.KEY_FILE_UNSAFE


def test_a_symbolic_link_is_refused(stored: Path) -> None:
    link = stored.with_name("link")
    link.symlink_to(stored)
    assert refusal_of(link, KeyAlgorithm.ML_DSA_44) is RefusalCode.KEY_FILE_UNSAFE


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "key", 0o600)
    assert refusal_of(tmp_path / "key", KeyAlgorithm.ML_DSA_44) is RefusalCode.KEY_FILE_UNSAFE


def test_a_file_larger_than_a_key_file_is_refused(tmp_path: Path) -> None:
    write_private_file(tmp_path / "key", bytes(20_000))
    with pytest.raises(Refusal) as caught:
        read_private_file(tmp_path / "key")
    assert caught.value.code is RefusalCode.KEY_FILE_UNSAFE


def test_a_missing_file_is_not_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_key(tmp_path / "key", KeyAlgorithm.ES256, PASSPHRASE)


def test_a_key_is_never_overwritten(stored: Path) -> None:
    before = stored.read_bytes()
    with pytest.raises(FileExistsError):
        store_key(stored, generate(KeyAlgorithm.ML_DSA_44), PASSPHRASE)
    assert stored.read_bytes() == before
    assert [path.name for path in stored.parent.iterdir()] == ["key"]


def test_a_key_is_not_stored_without_a_passphrase(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="passphrase"):
        store_key(tmp_path / "key", generate(KeyAlgorithm.ES256), b"")


def test_a_key_serves_its_own_use_only() -> None:
    with pytest.raises(ValueError, match="asked to serve"):
        generate(KeyAlgorithm.ECDH_ES).for_signing("k")


def test_a_private_key_does_not_show_its_secret() -> None:
    assert "secret" not in repr(PrivateKey(KeyAlgorithm.ES256, b"\x01" * 32))
