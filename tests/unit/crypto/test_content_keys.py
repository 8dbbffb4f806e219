import pytest

from hub.crypto.content_keys import WRAPPED_KEY_OCTETS, StorageKey, decrypt_content, encrypt_content
from hub.domain.refusals import HubFault

KEY = StorageKey("storage-1", b"\x01" * 32)
WRAPPED, CIPHERTEXT = encrypt_content(KEY, "exchange-1", b"canary", b"facts")


def test_content_decrypts_with_its_wrapped_key() -> None:
    assert decrypt_content(KEY, "exchange-1", WRAPPED, CIPHERTEXT, b"facts") == b"canary"
    assert (len(WRAPPED), len(CIPHERTEXT)) == (WRAPPED_KEY_OCTETS, len(b"canary") + 28)


def test_each_message_has_a_key_of_its_own() -> None:
    other_key, other = encrypt_content(KEY, "exchange-1", b"canary", b"facts")
    with pytest.raises(HubFault):
        decrypt_content(KEY, "exchange-1", other_key, CIPHERTEXT, b"facts")
    assert other != CIPHERTEXT


def test_content_that_was_moved_to_another_exchange_does_not_decrypt() -> None:
    with pytest.raises(HubFault):
        decrypt_content(KEY, "exchange-2", WRAPPED, CIPHERTEXT, b"facts")


def test_content_does_not_decrypt_beside_other_facts() -> None:
    with pytest.raises(HubFault):
        decrypt_content(KEY, "exchange-1", WRAPPED, CIPHERTEXT, b"fact")


def test_another_storage_key_decrypts_nothing() -> None:
    with pytest.raises(HubFault):
        decrypt_content(StorageKey("storage-1", b"\x02" * 32), "exchange-1", WRAPPED, CIPHERTEXT, b"facts")


@pytest.mark.parametrize("position", [0, 12, -1])
@pytest.mark.parametrize("what", ["wrapped", "ciphertext"])
def test_an_alteration_at_rest_does_not_decrypt(what: str, position: int) -> None:
    stored = {"wrapped": bytearray(WRAPPED), "ciphertext": bytearray(CIPHERTEXT)}
    stored[what][position] ^= 1
    with pytest.raises(HubFault):
        decrypt_content(KEY, "exchange-1", bytes(stored["wrapped"]), bytes(stored["ciphertext"]), b"facts")


@pytest.mark.parametrize("stored", [b"", b"\0" * 11, b"\0" * 28])
def test_what_is_cut_off_does_not_decrypt(stored: bytes) -> None:
    with pytest.raises(HubFault):
        KEY.decrypt(stored, "place")


def test_octets_decrypt_in_their_own_place_only() -> None:
    stored = KEY.encrypt(b"octets", "receipts/1")
    assert KEY.decrypt(stored, "receipts/1") == b"octets"
    with pytest.raises(HubFault):
        KEY.decrypt(stored, "receipts/2")


def test_a_storage_key_has_32_octets_and_does_not_show_them() -> None:
    assert repr(KEY) == "StorageKey(storage-1)"
    with pytest.raises(ValueError, match="32 octets"):
        StorageKey("storage-1", bytes(16))
