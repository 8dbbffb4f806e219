"""Reading the catalogue: a new type is one new file, and whatever contradicts itself is an error."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from hub.domain.catalogue import LANGUAGES, FieldKind, Group, shared_groups
from hub.domain.messages import DataCategory, PresentField, Urgency
from hub.domain.parties import PartyKind
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.bodies import BodyReader
from hub.formats.catalogue import CatalogueError, load_catalogue
from hub.formats.generated_files import generated_files
from tests.message_examples import SCHEMAS, catalogue, example

NEW_TYPE = """
type = "place-report"
schema = 1
title = { en = "Report of a place", zh-Hant = "處所通報" }
purpose = { en = "Tells of a place.", zh-Hant = "通報處所。" }
routes = [{ from = ["domestic_agency"], to = ["ngo", "local_government"] }]
answers = [{ type = "place-answer", outcomes = "referral-outcomes" }]
deadlines = { R = { reply = "7d", acknowledge = "90min" } }

[fields]
name = { type = "text", cardinality = "1", en = "Name", zh-Hant = "名稱" }
country = { type = "code", codes = "iso-3166", en = "Country", zh-Hant = "國家" }

[fields.witnesses]
type = "group"
group = "person_identity"
cardinality = "0..5"
category = "identity"
en = "Witness"
zh-Hant = "證人"

[fields.visit]
type = "group"
en = "Visit"
zh-Hant = "訪查"
[fields.visit.fields]
from = { type = "time", cardinality = "1", en = "From", zh-Hant = "起" }
to = { type = "time", en = "To", zh-Hant = "迄" }
[[fields.visit.rules]]
name = "to_after_from"
en = "A visit ends after it starts."
zh-Hant = "迄時應晚於起時。"
order = ["from", "to"]

[[rules]]
name = "witness_for_abroad"
en = "A place abroad has a witness."
zh-Hant = "國外處所應有證人。"
when = { country = { not = ["TW"] } }
then = { witnesses = true }

[example.header]
[example.body]
name = "海邊旅社"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(SCHEMAS, tmp_path / "schemas")
    return tmp_path / "schemas"


ORDER_OF_TEXTS = """
[[rules]]
name = "x"
en = "x"
zh-Hant = "x"
order = ["name", "name"]
"""
HEADER_RULE = 'when_header = { tlp = ["red"] }\nthen = { to = true }\n'
RULE = "[[rules]]" + NEW_TYPE.rpartition("[[rules]]")[2].partition("[example")[0]
CODES = 'title = { en = "x", zh-Hant = "x" }\nsource = "x"\nversion = "1"\n[codes]\n'


def with_type(folder: Path, text: str) -> None:
    (folder / "catalogue" / "place-report.toml").write_text(text, "utf-8")


def test_a_new_message_type_is_one_new_file(folder: Path) -> None:
    with_type(folder, NEW_TYPE)
    reader = BodyReader(load_catalogue(folder))
    header = reader.read_header({**example("ht-referral")[0], "type": "place-report"})
    fields = reader.read_body(header, {"name": "海邊旅社", "witnesses": [{"family_name": "王"}], "country": "JP"})
    assert fields == (
        PresentField("/name", None),
        PresentField("/witnesses/0/family_name", DataCategory.IDENTITY),
        PresentField("/country", None),
    )
    with pytest.raises(Refusal) as caught:
        reader.read_body(header, {"name": "海邊旅社", "country": "JP"})
    assert dict(caught.value.findings[0].values) == {"path": "/body", "rule": "witness_for_abroad"}


def test_a_new_message_type_gets_its_schema_its_page_and_its_example(folder: Path) -> None:
    with_type(folder, NEW_TYPE)
    more = generated_files(load_catalogue(folder)).keys() - generated_files(catalogue()).keys()
    names = {"schemas/json/place-report.json", "schemas/examples/place-report.json", "docs/messages/place-report.md"}
    assert {str(path) for path in more} == names


def test_two_versions_of_a_type_stand_beside_each_other(folder: Path) -> None:
    with_type(folder, NEW_TYPE)
    (folder / "catalogue" / "place-report.2.toml").write_text(NEW_TYPE.replace("schema = 1", "schema = 2"), "utf-8")
    read = load_catalogue(folder)
    assert (read.get("place-report", 1).schema, read.get("place-report", 2).schema) == (1, 2)
    assert {Path("schemas/json/place-report.json"), Path("schemas/json/place-report.1.json")} <= generated_files(read).keys()


def test_a_type_says_who_sends_it_and_by_when_it_is_answered(folder: Path) -> None:
    with_type(folder, NEW_TYPE)
    read = load_catalogue(folder).get("place-report", 1)
    assert read.routes[0].recipients == {PartyKind.NGO, PartyKind.LOCAL_GOVERNMENT}
    assert read.deadlines[Urgency.R].reply == timedelta(days=7)
    assert read.deadlines[Urgency.R].acknowledge == timedelta(minutes=90)
    assert read.answers[0].outcomes is not None
    assert "no_capacity" in read.answers[0].outcomes.codes


def test_fields_keep_the_order_of_the_file(folder: Path) -> None:
    with_type(folder, NEW_TYPE)
    assert [one.name for one in load_catalogue(folder).get("place-report", 1).body.fields] == [
        "name",
        "country",
        "witnesses",
        "visit",
    ]


@pytest.mark.parametrize("key", [("ht-referral", 99), ("", 1), ("header", 1)])
def test_a_type_that_is_not_there_is_unknown(key: tuple[str, int]) -> None:
    with pytest.raises(Refusal) as caught:
        catalogue().get(*key)
    assert caught.value.code is RefusalCode.UNKNOWN_TYPE


CONTRADICTIONS = [
    ("not TOML", lambda text: text + "\n[fields", "place-report.toml"),
    ("unknown key of a type", lambda text: "colour = 1\n" + text, "unknown key colour"),
    ("unknown key of a field", lambda text: text.replace('type = "time",', 'type = "time", size = 3,', 1), "unknown key size"),
    ("codes for a text", lambda text: text.replace('type = "text",', 'type = "text", codes = "tlp",'), "unknown key codes"),
    ("minimum of a text", lambda text: text.replace('type = "text",', 'type = "text", minimum = 1,'), "unknown key minimum"),
    ("unknown kind", lambda text: text.replace('"text"', '"float"'), "float is not a FieldKind"),
    ("unknown category", lambda text: text.replace('"identity"', '"gossip"'), "gossip is not a DataCategory"),
    ("unknown code list", lambda text: text.replace('"iso-3166"', '"iso-0"'), "no code list iso-0"),
    ("unknown shared group", lambda text: text.replace('"person_identity"', '"person_x"'), "person_x.toml"),
    ("unknown party kind", lambda text: text.replace('"ngo"', '"club"'), "club is not a PartyKind"),
    ("unknown urgency", lambda text: text.replace("{ R =", "{ X ="), "X is not a Urgency"),
    ("unknown duration", lambda text: text.replace('"7d"', '"7 days"'), "a duration is"),
    ("unknown outcomes", lambda text: text.replace('"referral-outcomes"', '"outcomes"'), "no code list outcomes"),
    ("label in one language", lambda text: text.replace(', zh-Hant = "名稱"', ""), "zh-Hant is missing"),
    ("label in a third language", lambda text: text.replace('en = "Name"', 'en = "Name", ja = "名称"'), "unknown key ja"),
    ("no title", lambda text: text.replace("title =", "help ="), "unknown key help"),
    ("name in capitals", lambda text: text.replace("name = { type", "Name = { type"), "ASCII snake_case"),
    ("reserved name", lambda text: text.replace("name = { type", "header = { type"), "reserved"),
    ("cardinality upside down", lambda text: text.replace('"0..5"', '"5..1"'), "cardinality is"),
    ("cardinality of none", lambda text: text.replace('"0..5"', '"0..0"'), "cardinality is"),
    ("rule about no field", lambda text: text.replace("then = { witnesses", "then = { police"), "leads to no single field"),
    ("rule about no code", lambda text: text.replace('["TW"]', '["Taiwan"]'), "Taiwan is not a code"),
    ("rule into an array", lambda text: text.replace("{ witnesses = true", '{ "witnesses/gender" = true'), "no single field"),
    ("rule without demand", lambda text: text.replace("then = { witnesses = true }", ""), "one demand"),
    ("rule with two demands", lambda text: text.replace("order =", 'exactly_one = ["from", "to"]\norder ='), "one demand"),
    ("order of one", lambda text: text.replace('["from", "to"]', '["from"]'), "one demand"),
    ("order of texts", lambda text: text.replace(RULE, RULE + ORDER_OF_TEXTS), "dates or times"),
    ("order with a condition", lambda text: text.replace("order =", "when = { to = true }\norder ="), "when needs then"),
    ("two rules of one name", lambda text: text.replace(RULE, RULE + RULE), "two rules"),
    ("rule about a strange header", lambda text: text.replace("when =", "when_header = { colour = [] }\nwhen ="), "no colour"),
    ("header rule in a group", lambda text: text.replace("order =", HEADER_RULE + "#"), "stands with the type"),
    ("loose pattern", lambda text: text.replace('type = "text",', 'type = "text", pattern = "[a-z]+",'), "anchored"),
    ("file of another name", lambda text: text.replace('"place-report"', '"place-rapport"'), "the file is called"),
    ("no fields", lambda text: text.split("[fields]")[0] + "[example.header]\n[example.body]", "no fields"),
    ("no example", lambda text: text.split("[example.header]")[0], "example is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("alter", "says"), [case[1:] for case in CONTRADICTIONS], ids=[case[0] for case in CONTRADICTIONS])
def test_a_contradiction_is_an_error_that_names_the_place(folder: Path, alter: Callable[[str], str], says: str) -> None:
    altered = alter(NEW_TYPE)
    assert altered != NEW_TYPE
    with_type(folder, altered)
    with pytest.raises(CatalogueError, match=says):
        load_catalogue(folder)


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("codes/x.toml", CODES, "no codes"),
        ("codes/x.toml", CODES.partition("\n")[2] + 'a = { en = "a", zh-Hant = "a" }', "title is missing"),
        ("codes/x.toml", CODES + 'a = { en = "a", zh-Hant = "a", local = true, maps_to = "b" }', "maps to none"),
        ("codes/x.toml", CODES + 'a = { en = "a", zh-Hant = "a", maps_to = "a" }', "only a local code"),
        (
            "groups/person_identity.toml",
            '[fields]\nmother = { type = "group", group = "person_identity", en = "x", zh-Hant = "x" }',
            "contains itself",
        ),
    ],
)
def test_a_code_list_or_group_that_contradicts_itself_is_an_error(folder: Path, file: str, text: str, says: str) -> None:
    (folder / file).write_text(text, "utf-8")
    with pytest.raises(CatalogueError, match=says):
        load_catalogue(folder)


def test_the_scam_compound_is_a_local_code_that_maps_to_the_standard() -> None:
    codes = catalogue().code_lists["htcds-exploitation-types"].codes
    assert codes["ForcedScamming"].local
    assert codes["ForcedScamming"].maps_to == "Other"
    assert not codes["ForcedLabour"].local


def test_every_text_of_the_catalogue_is_there_in_each_language() -> None:
    def texts(group: Group) -> list[dict[str, str]]:
        here = [dict(one.labels) for one in group.fields] + [dict(rule.texts) for rule in group.rules]
        return here + [dict(one.helps) for one in group.fields if one.helps]

    groups = [catalogue().header, *(one.body for one in catalogue().types.values())]
    everything = [text for root in groups for group in [root, *shared_groups(root)] for text in texts(group)]
    everything += [dict(code.labels) for one in catalogue().code_lists.values() for code in one.codes.values()]
    assert all(tuple(text) == LANGUAGES and all(text.values()) for text in everything)


def test_every_code_list_is_used() -> None:
    def used(group: Group) -> set[str]:
        own = {one.codes.name for one in group.fields if one.codes}
        return own.union(*(used(one.group) for one in group.fields if one.group))

    names = used(catalogue().header).union(*(used(one.body) for one in catalogue().types.values()))
    names |= {answer.outcomes.name for one in catalogue().types.values() for answer in one.answers if answer.outcomes}
    unused = {name for name in catalogue().code_lists if name not in names}
    assert {name.rsplit("-", 1)[0] for name in unused} == set(catalogue().code_lists["evaluation-schemes"].codes)


def test_sealed_parts_are_those_of_the_reporter_and_the_victim() -> None:
    fields = catalogue().get("ht-referral", 1).body.fields
    assert {one.name for one in fields if one.kind is FieldKind.SEALED} == {"victim_contact", "reporter_identity"}
