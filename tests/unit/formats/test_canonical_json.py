import pytest

from hub.formats.canonical_json import canonical_json


def test_members_are_sorted_and_nothing_is_spaced() -> None:
    value = {"b": [1, True, None], "a": {"10": "é😀", "9": "\x07\u2028"}, "B": -1}
    assert canonical_json(value) == '{"B":-1,"a":{"10":"é😀","9":"\\u0007\u2028"},"b":[1,true,null]}'.encode()


@pytest.mark.parametrize(
    "value",
    [1.0, {"a": [1.5]}, {"é": 1}, {1: "a"}, 2**53, -(2**53), b"a", {"a": {1}}, "\ud800"],
    ids=["float", "float inside", "name", "name type", "great", "least", "octets", "set", "surrogate"],
)
def test_what_has_no_canonical_form_is_an_error(value: object) -> None:
    with pytest.raises(ValueError, match=r"canonical|name|Integer"):
        canonical_json(value)
