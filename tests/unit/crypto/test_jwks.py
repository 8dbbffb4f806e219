from typing import Any

import pytest

from hub.crypto.jwks import load_hybrid, load_p256, thumbprint
from tests.vectors.files import read_json

SENDER = read_json("wire/classic-1.json")["sender"]
HYBRID = read_json("wire/hpke-9-ke-key.json")


def test_the_thumbprint_of_an_ec_key_is_that_of_rfc_7638() -> None:
    key = {"kty": "EC", "crv": "P-256", "x": SENDER["x"], "y": SENDER["y"]}
    assert thumbprint(key) == thumbprint(SENDER | {"use": "sig"}) == "qHukF71vKmFhIG6HoA8T3MQ8lviVcI_mx3MrFGSyc_Y"


def test_the_thumbprint_of_a_hybrid_key_is_the_key_id_of_the_draft() -> None:
    assert thumbprint(HYBRID) == HYBRID["kid"]


@pytest.mark.parametrize(
    "change",
    [
        {"x": ["A"]},
        {"kty": "OKP"},
        {"crv": "P-384"},
        {"x": SENDER["x"][:-1]},
        {"x": ""},
        {"y": SENDER["x"]},
        {"y": SENDER["y"] + "="},
    ],
    ids=lambda change: str(change)[:24],
)
def test_a_p256_key_of_another_form_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"key|octets|base64|point|string"):
        load_p256(SENDER | change)


def test_a_coordinate_of_31_octets_is_an_error_even_where_its_value_is_right() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        load_p256(SENDER | {"x": "A" * 42})


@pytest.mark.parametrize("change", [{"kty": "EC"}, {"alg": "HPKE-10-KE"}, {"pub": ""}, {"pub": HYBRID["pub"][:-4]}])
def test_a_hybrid_key_of_another_form_is_an_error(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"key|octets|base64url"):
        load_hybrid(HYBRID | change)
