"""Agreements as documents: what a lawyer writes, what is signed, and everything that is refused."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from hub.cli.agreements import agreement as agreement_commands
from hub.domain.agreements import Agreement, AgreementKind, AgreementRecord, Deadline, TrustMode, UncoveredCategory
from hub.domain.messages import CommonLevel, DataCategory, Handling, Tlp, Urgency
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.agreements import read_agreement, read_canonical, write_toml
from hub.formats.parties import read_party

FOLDER = Path("config/agreements")
COMMITTED = sorted(FOLDER.glob("*.toml"))
NOW = datetime(2026, 11, 22, tzinfo=UTC)

TRIAL = """
[agreement]
id = "trial-2026"
version = 2
kind = "mou"
title.en = "Trial"
title.zh-Hant = "試辦"
authentic_text_sha256 = "00000000000000000000000000000000000000000000000000000000000000ff"
authentic_languages = ["zh-Hant"]

[[signatories]]
name.en = "Office A"
on_behalf_of = "tw"

[[signatories]]
name.en = "Office B"
on_behalf_of = "jp"

[[operating_authorities]]
authority = "tw.npa"
party = "tw"
article = "3(1)"

[[operating_authorities]]
authority = "jp.npa"
party = "jp"
article = "3(2)"

[term]
article = "14"
in_force_from = 2026-04-01T00:00:00+09:00
in_force_until = 2029-04-01T00:00:00+09:00
after_end = "return"

[[suspensions]]
article = "15"
from = 2027-01-01T00:00:00Z
until = 2027-02-01T00:00:00Z
reason = "Exchange of notes"

[purposes]
article = "2"
allowed = ["investigation"]

[[flows]]
article = "4(1)"
from = ["tw.npa"]
to = ["jp.npa"]
types = ["info-request"]
categories = ["identity", "travel"]
highest_classification = "top_secret"
widest_tlp = "amber+strict"
uncovered_category = "minimise"

[[flows]]
article = "4(2)"
from = ["tw.npa"]
to = ["jp.npa"]
types = ["info-request", "info-response"]
categories = []
highest_classification = "none"
widest_tlp = "clear"
uncovered_category = "minimise"

[classification]
article = "9"
levels = [{ party = "tw", theirs = "密", common = "restricted" }]

[handling]
article = "8"
codes = ["H0", "H2"]

[deadlines]
article = "6"
U1 = { reply = "30min", acknowledge = "10min" }
R = { reply = "7d", acknowledge = "24h" }

[retention]
article = "10"
default = "3y"
health = "90d"

[trust]
article = "11"
hub = "blind"
"""


def read(toml: str) -> Agreement:
    return read_agreement(toml.encode())


def refusal(toml: str) -> str:
    """Read what must be refused as an invalid agreement, and return the place and the rule that it names."""
    with pytest.raises(Refusal) as caught:
        read(toml)
    assert caught.value.code is RefusalCode.INVALID_AGREEMENT
    return caught.value.detail


def refusal_of_octets(octets: bytes) -> str:
    with pytest.raises(Refusal) as caught:
        read_canonical(octets)
    assert caught.value.code is RefusalCode.INVALID_AGREEMENT
    return caught.value.detail


# ---------------------------------------------------------------------------------------------------------------- reading


def test_every_section_arrives_in_the_domain() -> None:
    agreement = read(TRIAL)
    assert (agreement.id, agreement.version, agreement.kind) == ("trial-2026", 2, AgreementKind.MOU)
    assert agreement.titles == {"en": "Trial", "zh-Hant": "試辦"}
    assert [(one.names["en"], one.on_behalf_of) for one in agreement.signatories] == [("Office A", "tw"), ("Office B", "jp")]
    assert [one.article for one in agreement.operating_authorities] == ["3(1)", "3(2)"]
    assert (agreement.purposes_article, agreement.purposes) == ("2", frozenset({"investigation"}))
    assert agreement.classification == {("tw", "密"): CommonLevel.RESTRICTED}
    assert (agreement.handling_article, agreement.handling) == ("8", frozenset({Handling.H0, Handling.H2}))
    assert (agreement.trust_article, agreement.trust) == ("11", TrustMode.BLIND)


def test_the_term_is_read_in_its_own_zone() -> None:
    term = read(TRIAL).term
    assert (term.article, term.start) == ("14", datetime(2026, 3, 31, 15, tzinfo=UTC))
    assert (term.end, term.after_end) == (datetime(2029, 3, 31, 15, tzinfo=UTC), "return")


def test_a_suspension_keeps_its_article_and_bounds() -> None:
    (pause,) = read(TRIAL).term.suspensions
    assert (pause.article, pause.reason) == ("15", "Exchange of notes")
    assert (pause.start, pause.end) == (datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))


def test_a_flow_keeps_its_direction_its_limits_and_an_empty_set_of_categories() -> None:
    first, second = read(TRIAL).flows
    assert (first.article, list(first.senders), list(first.recipients)) == ("4(1)", ["tw.npa"], ["jp.npa"])
    assert first.types == {"info-request"}
    assert first.categories == {DataCategory.IDENTITY, DataCategory.TRAVEL}
    assert (first.highest_classification, first.widest_tlp) == (CommonLevel.TOP_SECRET, Tlp.AMBER_STRICT)
    assert (first.uncovered_category, second.categories) == (UncoveredCategory.MINIMISE, frozenset())


def test_deadlines_and_retention_are_periods_by_code() -> None:
    agreement = read(TRIAL)
    assert agreement.deadlines == {
        Urgency.U1: Deadline(timedelta(minutes=30), timedelta(minutes=10)),
        Urgency.R: Deadline(timedelta(days=7), timedelta(hours=24)),
    }
    assert (agreement.deadlines_article, agreement.retention_article) == ("6", "10")
    assert agreement.retention == {"default": timedelta(days=3 * 365), "health": timedelta(days=90)}


def test_an_agreement_may_be_open_ended_and_leave_deadlines_and_retention_to_the_hub() -> None:
    short = TRIAL[: TRIAL.index("[deadlines]")] + TRIAL[TRIAL.index("[trust]") :]
    agreement = read(short.replace("in_force_until = 2029-04-01T00:00:00+09:00\n", ""))
    assert (agreement.term.end, agreement.deadlines, agreement.retention) == (None, {}, {})


# ------------------------------------------------------------------------------------------------------- what is signed


def test_the_canonical_form_has_arrays_for_free_keys_and_times_in_utc() -> None:
    document = orjson.loads(read(TRIAL).canonical)
    assert document["form"] == "accord-agreement-1"
    assert document["agreement"]["title"] == [{"language": "en", "text": "Trial"}, {"language": "zh-Hant", "text": "試辦"}]
    assert document["term"]["in_force_from"] == "2026-03-31T15:00:00Z"
    assert document["deadlines"]["limits"][0] == {"urgency": "U1", "reply": "30min", "acknowledge": "10min"}
    assert document["retention"] == {
        "article": "10",
        "periods": [{"category": "default", "keep": "3y"}, {"category": "health", "keep": "90d"}],
    }


def test_the_digest_is_that_of_the_canonical_octets() -> None:
    # sha256sum of the octets, by coreutils, as base64url
    assert read(TRIAL).digest == "uFCZSBfH4v4g9eAhdS1KfE2V3L5TNY3zN46JNicFiCU"


def test_the_canonical_octets_read_back_to_the_same_agreement() -> None:
    agreement = read(TRIAL)
    assert read_canonical(agreement.canonical) == agreement


def test_comments_layout_and_zone_do_not_change_what_is_signed() -> None:
    other = "# a comment\n" + TRIAL.replace("2026-04-01T00:00:00+09:00", "2026-03-31T23:00:00+08:00").replace(" = ", "  =  ")
    assert read(other).canonical == read(TRIAL).canonical


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_export_reads_back_to_the_octets_that_were_signed(path: Path) -> None:
    agreement = read_agreement(path.read_bytes())
    exported = write_toml(agreement)
    assert read(exported) == agreement
    assert write_toml(read(exported)) == exported


def test_export_keeps_texts_that_look_like_something_else() -> None:
    odd = TRIAL.replace('"Exchange of notes"', r'"\"2027-01-01T00:00:00Z\" [[x]] = # \\ \u007f \t 備忘"')
    assert read(write_toml(read(odd))) == read(odd)


def test_octets_with_another_layout_are_not_canonical() -> None:
    octets = orjson.dumps(orjson.loads(read(TRIAL).canonical), option=orjson.OPT_INDENT_2)
    assert refusal_of_octets(octets) == "the document is not in canonical form"


@pytest.mark.parametrize("octets", [b"", b"[]", b"{", b'{"a":1,"a":1}', b"\xff", b'{"a":1.5}'])
def test_octets_that_are_no_json_object_are_refused(octets: bytes) -> None:
    assert refusal_of_octets(octets)


def edit_canonical(edit: Callable[[dict[str, object]], None]) -> bytes:
    document = orjson.loads(read(TRIAL).canonical)
    edit(document)
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def test_a_form_that_is_not_known_is_refused() -> None:
    octets = edit_canonical(lambda document: document.update(form="accord-agreement-2"))
    assert refusal_of_octets(octets) == "form: must be accord-agreement-1"


@pytest.mark.parametrize(
    ("section", "rows", "detail"),
    [
        ("deadlines", "limits", "deadlines.limits[2].urgency: occurs twice"),
        ("retention", "periods", "retention.periods[2].category: occurs twice, or is none of"),
        ("agreement", "title", "agreement.title[2].language: occurs twice"),
    ],
)
def test_a_row_that_toml_could_not_hold_twice_is_refused_twice_in_json(section: str, rows: str, detail: str) -> None:
    def repeat(document: dict[str, object]) -> None:
        table = document[section]
        assert isinstance(table, dict)
        table[rows] = [*table[rows], table[rows][0]]

    assert refusal_of_octets(edit_canonical(repeat)).startswith(detail)


# ------------------------------------------------------------------------------------------------------- what is refused

SECTIONS = ["agreement", "term", "purposes", "classification", "handling", "deadlines", "retention", "trust"]
ROWS = ["signatories", "operating_authorities", "suspensions", "flows"]


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_key_in_a_section_is_refused(section: str) -> None:
    assert refusal(TRIAL.replace(f"[{section}]", f'[{section}]\nsurprise = {{ en = "x" }}'))


@pytest.mark.parametrize("rows", ROWS)
def test_an_unknown_key_in_a_row_is_named_with_its_place(rows: str) -> None:
    detail = refusal(TRIAL.replace(f"[[{rows}]]", f"[[{rows}]]\nsurprise = 1", 1))
    assert detail == f"{rows}[0].surprise: is not a key that is known here"


def test_an_unknown_section_is_refused() -> None:
    assert refusal(TRIAL + "\n[quotas]\nper_day = 5\n") == "quotas: is not a key that is known here"


@pytest.mark.parametrize("section", ["purposes", "classification", "handling", "deadlines", "retention", "trust", "term"])
def test_a_rule_without_its_article_is_refused(section: str) -> None:
    start = TRIAL.index(f"[{section}]\n") + len(section) + 3
    end = TRIAL.index("\n", start) + 1
    assert refusal(TRIAL[:start] + TRIAL[end:]) == f"{section}.article: is missing"


@pytest.mark.parametrize(("rows", "article"), [("flows", "4(1)"), ("suspensions", "15"), ("operating_authorities", "3(1)")])
def test_a_row_without_its_article_is_refused(rows: str, article: str) -> None:
    assert refusal(TRIAL.replace(f'article = "{article}"\n', "", 1)) == f"{rows}[0].article: is missing"


@pytest.mark.parametrize("section", ["agreement", "term", "purposes", "classification", "handling", "trust"])
def test_a_missing_section_is_refused(section: str) -> None:
    start = TRIAL.index(f"[{section}]")
    end = TRIAL.find("\n\n[", start)
    assert refusal(TRIAL[:start] + (TRIAL[end:] if end > 0 else "")) == f"{section}: is missing"


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        ('id = "trial-2026"', 'id = "Trial 2026"', "agreement.id: does not have the form of this field"),
        ("version = 2", "version = 0", "agreement.version: must be a whole number, 1 or more"),
        ("version = 2", "version = true", "agreement.version: must be a whole number, 1 or more"),
        ('kind = "mou"', 'kind = "handshake"', "agreement.kind: is none of treaty, agreement, mou"),
        ('title.en = "Trial"', 'title.fr = "Essai"', "agreement.title: must have an English text"),
        ("title.zh-Hant", "title.Chinese", "agreement.title[1].language: does not have the form"),
        ('title.en = "Trial"', "title.en = 5", "agreement.title[0].text: must be a text"),
        ('["zh-Hant"]', '["ja"]', "agreement.authentic_languages: names a language that has no title"),
        ("00ff", "00", "agreement.authentic_text_sha256: does not have the form"),
        ('on_behalf_of = "jp"', 'on_behalf_of = "us"', "signatories: each side of the operating authorities"),
        ('authority = "jp.npa"', 'authority = "tw.npa"', "operating_authorities: an authority occurs twice"),
        ('authority = "jp.npa"', 'authority = "JP.NPA"', "operating_authorities[1].authority: does not have the form"),
        ('article = "14"', 'article = ""', "term.article: must be a text of 1 to"),
        ("2029-04-01T00:00:00+09:00", "2026-04-01T00:00:00+09:00", "term.in_force_until: must be after in_force_from"),
        ("2029-04-01T00:00:00+09:00", "2029-04-01T00:00:00", "term.in_force_until: must be a date and time with a time zone"),
        ("2029-04-01T00:00:00+09:00", "2029-04-01", "term.in_force_until: must be a date and time with a time zone"),
        ("2029-04-01T00:00:00+09:00", '"soon"', "term.in_force_until: must be a date and time with a time zone"),
        ("2029-04-01T00:00:00+09:00", "3.5", "the document holds a value that cannot be written canonically"),
        ('after_end = "return"', 'after_end = "keep"', "term.after_end: does not have the form"),
        ("2027-02-01T00:00:00Z", "2027-01-01T00:00:00Z", "suspensions[0].until: must be after from"),
        ('allowed = ["investigation"]', "allowed = []", "purposes.allowed: must be a list of 1 to"),
        ('allowed = ["investigation"]', 'allowed = ["a", "a"]', "purposes.allowed: names something twice"),
        ('allowed = ["investigation"]', 'allowed = "investigation"', "purposes.allowed: must be a list"),
        ('allowed = ["investigation"]', 'allowed = ["Anything!"]', "purposes.allowed: holds something that"),
        ('from = ["tw.npa"]', 'from = ["tw.nia"]', "flows[0]: names an authority that is not an operating authority"),
        ('to = ["jp.npa"]', 'to = ["tw.npa"]', "flows[0]: leads from an authority to itself"),
        ('from = ["tw.npa"]', "from = []", "flows[0].from: must be a list of 1 to"),
        ('"info-request"]', '"Info Request"]', "flows[0].types: holds something that"),
        ('["identity", "travel"]', '["identity", "gossip"]', "flows[0].categories: is none of identity, document"),
        ('"top_secret"', '"cosmic"', "flows[0].highest_classification: is none of none, restricted"),
        ('"amber+strict"', '"AMBER"', "flows[0].widest_tlp: is none of clear"),
        ('"minimise"', '"ignore"', "flows[0].uncovered_category: is none of minimise, refuse"),
        ('"minimise"', '"refuse"', "flows[0] and flows[1]: overlap, and disagree on uncovered_category"),
        ('theirs = "密"', 'theirs = "none"', "classification.levels[0].theirs: is mapped twice, or is none"),
        ('{ party = "tw", theirs', '{ party = "us", theirs', "classification.levels: names a side that has no operating"),
        ('common = "restricted"', 'common = "secretive"', "classification.levels[0].common: is none of none"),
        ('codes = ["H0", "H2"]', 'codes = ["H9"]', "handling.codes: is none of H0"),
        ("U1 = {", "U9 = {", "deadlines.limits[0].urgency: is none of U1"),
        ('acknowledge = "10min"', 'acknowledge = "31min"', "deadlines.limits[0].acknowledge: must not be longer than reply"),
        ('reply = "7d"', 'reply = "1y"', "deadlines.limits[1].reply: must be a whole number and its unit"),
        ('reply = "7d"', 'reply = "0d"', "deadlines.limits[1].reply: must be a whole number and its unit"),
        ("R = {", 'R = { urgency = "N",', "deadlines.limits[1]: must be a table"),
        ('default = "3y"', 'default = "8h"', "retention.periods[0].keep: must be a whole number and its unit"),
        ("health =", "shoe_size =", "retention.periods[1].category: occurs twice, or is none of default"),
        ("health =", "健康 =", "the document is not TOML"),
        ('hub = "blind"', 'hub = "trusted"', "trust.hub: is none of inspected, blind"),
        ("[trust]", "[trust", "the document is not TOML"),
        ("[handling]", "[[handling]]", "handling: must be a table"),
    ],
)
def test_what_contradicts_is_refused_with_its_place(old: str, new: str, detail: str) -> None:
    assert old in TRIAL
    assert refusal(TRIAL.replace(old, new, 1)).startswith(detail)


def test_one_operating_authority_agrees_with_nobody() -> None:
    start = TRIAL.index("[[operating_authorities]]", TRIAL.index('authority = "tw.npa"'))
    alone = TRIAL[:start] + TRIAL[TRIAL.index("[term]") :]
    assert refusal(alone) == "operating_authorities: must be a list of 2 to 500 tables"


def test_a_level_that_is_mapped_twice_is_refused() -> None:
    row = '{ party = "tw", theirs = "密", common = "restricted" }'
    assert refusal(TRIAL.replace(row, f"{row}, {row}")).startswith("classification.levels[1].theirs: is mapped twice")


def test_flows_that_do_not_overlap_may_disagree_on_an_uncovered_category() -> None:
    apart = TRIAL.replace('types = ["info-request", "info-response"]', 'types = ["info-response"]')
    flows = read(apart.replace('"minimise"', '"refuse"', 1)).flows
    assert [one.uncovered_category for one in flows] == [UncoveredCategory.REFUSE, UncoveredCategory.MINIMISE]


def test_octets_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(Refusal) as caught:
        read_agreement(b"\xff" + TRIAL.encode())
    assert (caught.value.code, caught.value.detail) == (RefusalCode.INVALID_AGREEMENT, "the document is not UTF-8")


def test_a_document_over_a_mebibyte_is_refused_before_it_is_parsed() -> None:
    assert refusal("#" * (1 << 20) + TRIAL) == "the document is larger than 1048576 bytes"


def test_a_document_that_is_nested_too_deep_is_refused() -> None:
    assert refusal("a = " + "[" * 20_000) == "the document is nested too deep"


def test_a_type_that_the_catalogue_does_not_hold_is_refused_where_the_catalogue_is_given() -> None:
    with pytest.raises(Refusal) as caught:
        read_agreement(TRIAL.encode(), {"info-request"})
    assert caught.value.detail == "flows[1].types: names a message type that is not in the catalogue"


# --------------------------------------------------------------------------------------------- the agreements that come along


def held(name: str) -> AgreementRecord:
    agreement = read_agreement((FOLDER / f"{name}.toml").read_bytes())
    return AgreementRecord(agreement.id, (agreement,), {})


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_committed_agreement_is_named_after_its_file_and_its_authorities_are_parties(path: Path) -> None:
    agreement = read_agreement(path.read_bytes())
    parties = {read_party(party.read_bytes())[0].authority for party in Path("config/parties").glob("*.toml")}
    assert agreement.id == path.stem
    assert {one.authority for one in agreement.operating_authorities} <= parties


def test_the_committed_agreements_hold_one_that_expired_one_that_is_suspended_and_three_in_force() -> None:
    terms = {path.stem: read_agreement(path.read_bytes()).term for path in COMMITTED}
    expired = {name for name, term in terms.items() if term.end is not None and term.end <= NOW}
    suspended = {name for name, term in terms.items() if any(one.covers(NOW) for one in term.suspensions)}
    assert expired == {"tw-vn-police-2019"}
    assert suspended == {"tw-id-trafficking-2023"}
    assert terms.keys() - expired - suspended == {"tw-jp-police-2026", "tw-us-trafficking-2014", "tw-referral-order-2024"}


def test_the_shelter_receives_what_care_needs_and_no_more() -> None:
    (order,) = held("tw-referral-order-2024").versions
    flows = [flow for flow in order.flows if "tw.shelter.garden" in flow.recipients]
    kept_out = {DataCategory.CRIMINAL_RECORD, DataCategory.INTELLIGENCE, DataCategory.TRAVEL}
    assert all(flow.uncovered_category is UncoveredCategory.MINIMISE for flow in flows)
    assert frozenset().union(*(flow.categories for flow in flows)).isdisjoint(kept_out)


# ---------------------------------------------------------------------------------------------------------- the lawyer's page

PAGE = Path("docs/agreements.md").read_text(encoding="utf-8")


def test_the_example_of_the_lawyers_page_is_an_agreement() -> None:
    example = PAGE.split("```toml\n")[1].split("```")[0]
    assert read(example).id == "tw-kr-police-2027"


def test_the_lawyers_page_explains_every_section_that_is_read() -> None:
    explained = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert explained == orjson.loads(read(TRIAL).canonical).keys() - {"form"}


def test_the_lawyers_page_names_every_category_and_refusals_that_exist() -> None:
    assert all(category in PAGE for category in DataCategory)
    assert set(re.findall(r"\(`(\w+)`\)", PAGE)) <= set(RefusalCode)


def test_the_commands_of_the_lawyers_page_exist() -> None:
    named = set(re.findall(r"hub agreement ([a-z-]+)", PAGE))
    assert named == set(agreement_commands.commands) - {"list"}
