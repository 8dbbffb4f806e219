"""Taking fields out, and reading what is left."""

import copy
from typing import Any

import pytest

from hub.domain.messages import DataCategory, PresentField
from hub.domain.refusals import HubFault, Refusal, RefusalCode
from hub.formats.bodies import remove_attachments, remove_fields
from tests.message_examples import change, example, reader


def minimised(type_: str, categories: set[DataCategory]) -> tuple[Any, Any, list[str]]:
    """Header, body and removed paths of an example without some categories."""
    header, body = example(type_)
    paths = [one.path for one in reader().read_body(reader().read_header(header), body) if one.category in categories]
    del header["salt"]
    return header, remove_fields(body, paths), paths


def test_a_removed_field_is_gone_and_the_rest_is_as_it_was() -> None:
    _, body = example("ht-referral")
    before = copy.deepcopy(body)
    rest: Any = remove_fields(body, ["/person/identity/family_name"])
    assert body == before
    del before["person"]["identity"]["family_name"]
    assert rest == before
    assert list(rest) == list(body)


def test_a_group_goes_with_its_last_field() -> None:
    rest: Any = remove_fields({"a": 1, "group": {"inner": {"one": 1, "two": 2}}}, ["/group/inner/one", "/group/inner/two"])
    assert rest == {"a": 1}


def test_positions_are_those_of_the_original() -> None:
    body = {"facts": [{"x": 1}, {"x": 2, "y": 2}, {"x": 3}]}
    assert remove_fields(body, ["/facts/0/x", "/facts/1/y", "/facts/2/x"]) == {"facts": [{"x": 2}]}


def test_an_array_goes_with_its_last_element() -> None:
    assert remove_fields({"a": 1, "facts": [{"x": 1}, {"x": 2}]}, ["/facts/0/x", "/facts/1/x"]) == {"a": 1}


def test_a_path_takes_out_all_below_it_whatever_else_is_named() -> None:
    body = {"a": 1, "group": {"one": 1, "two": 2}}
    assert remove_fields(body, ["/group/one", "/group"]) == remove_fields(body, ["/group", "/group/one"]) == {"a": 1}


def test_nothing_is_left_where_everything_goes() -> None:
    assert remove_fields({"a": 1}, ["/a"]) == {}


@pytest.mark.parametrize("path", ["/b", "/a/c", "/list/1", "/list/x", "", "a"])
def test_a_path_that_leads_nowhere_is_our_fault(path: str) -> None:
    with pytest.raises(HubFault):
        remove_fields({"a": 1, "list": [1]}, [path])


def test_paths_of_attachments_concern_the_header_alone() -> None:
    header = {"id": "x", "attachments": [{"name": "a"}, {"name": "b"}]}
    paths = ["/header/attachments/0", "/person"]
    assert remove_attachments(header, paths) == {"id": "x", "attachments": [{"name": "b"}]}
    assert remove_attachments(header, ["/header/attachments/0", "/header/attachments/1"]) == {"id": "x"}
    assert remove_fields({"person": 1, "place": 2}, paths) == {"place": 2}


@pytest.mark.parametrize(
    ("type_", "categories"),
    [
        ("ht-referral", {DataCategory.IDENTITY, DataCategory.DOCUMENT}),
        ("ht-referral", {DataCategory.VICTIM}),
        ("ht-referral", {DataCategory.CONTACT, DataCategory.HEALTH, DataCategory.TRAVEL, DataCategory.INTELLIGENCE}),
        ("info-request", {DataCategory.INTELLIGENCE}),
        ("info-request", {DataCategory.IDENTITY, DataCategory.DOCUMENT, DataCategory.FINANCIAL}),
        ("info-response", {DataCategory.CRIMINAL_RECORD, DataCategory.TRAVEL}),
        ("info-response", set(DataCategory)),
    ],
)
def test_a_minimised_body_is_read_as_a_rendition(type_: str, categories: set[DataCategory]) -> None:
    header, body, paths = minimised(type_, categories)
    assert paths or not categories
    fields = reader().check_rendition(reader().read_rendition_header(header), body, paths)
    assert not {one.category for one in fields} & categories


def test_what_was_not_taken_out_must_still_be_there() -> None:
    header, body, paths = minimised("ht-referral", {DataCategory.IDENTITY})
    del body["consent"]
    with pytest.raises(Refusal) as caught:
        reader().check_rendition(reader().read_rendition_header(header), body, paths)
    assert caught.value.code is RefusalCode.SCHEMA_VIOLATION
    assert {"path": "/body/consent", "rule": "required"} in [dict(one.values) for one in caught.value.findings]


def test_a_rule_holds_for_what_was_not_taken_out() -> None:
    header, body, paths = minimised("ht-referral", {DataCategory.IDENTITY})
    change(body, "/placement/visa_kind", "work")
    with pytest.raises(Refusal) as caught:
        reader().check_rendition(reader().read_rendition_header(header), body, paths)
    assert [dict(one.values)["rule"] for one in caught.value.findings] == ["workers_are_placed_by_labour"]


def test_a_rule_rests_where_what_it_looks_at_was_taken_out() -> None:
    header, body, paths = minimised("info-request", {DataCategory.FINANCIAL, DataCategory.IDENTITY})
    assert body["subjects"][1] == {"ref": "S2", "role": "instrument"}
    assert reader().check_rendition(reader().read_rendition_header(header), body, paths)


def test_a_value_that_does_not_exist_is_refused_in_a_rendition_too() -> None:
    header, body, paths = minimised("ht-referral", {DataCategory.VICTIM})
    body["referral_date"] = "2026-02-30"
    with pytest.raises(Refusal) as caught:
        reader().check_rendition(reader().read_rendition_header(header), body, paths)
    assert [dict(one.values)["rule"] for one in caught.value.findings] == ["no_such_value"]


def test_nothing_is_excused_where_nothing_was_taken_out() -> None:
    header, body = example("ht-referral")
    del header["salt"], body["person"]["pseudonym"]
    with pytest.raises(Refusal) as caught:
        reader().check_rendition(reader().read_rendition_header(header), body, [])
    assert caught.value.code is RefusalCode.SCHEMA_VIOLATION


def test_a_rendition_has_no_salt() -> None:
    header, _ = example("ht-referral")
    with pytest.raises(Refusal) as caught:
        reader().read_rendition_header(header)
    assert dict(caught.value.findings[0].values) == {"path": "/header/salt", "rule": "no_salt_in_rendition"}


def test_the_header_of_a_rendition_is_that_of_the_original_without_the_salt() -> None:
    header, _ = example("ht-referral")
    original = reader().read_header(header)
    del header["salt"]
    rendition = reader().read_rendition_header(header)
    assert rendition.salt == ""
    assert (rendition.id, rendition.issued, rendition.handling) == (original.id, original.issued, original.handling)


def test_attachments_that_stay_are_listed() -> None:
    header, body, paths = minimised("ht-referral", set())
    assert PresentField("/person/pseudonym", None) in reader().check_rendition(
        reader().read_rendition_header(header), body, paths
    )
