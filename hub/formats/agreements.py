"""Agreements as documents: TOML for the people who draft them, canonical JSON for what is signed, stored and compared.

Every section has one reader here, and the reader refuses what it does not know: a rule that the hub does not enforce (or, for
retention, record) cannot be written into an agreement as if it did.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from datetime import timedelta
from itertools import combinations

from hub.domain.agreements import (
    Agreement,
    AgreementKind,
    Deadline,
    Flow,
    OperatingAuthority,
    Signatory,
    Suspension,
    Term,
    TrustMode,
    UncoveredCategory,
)
from hub.domain.encoding import b64url_encode
from hub.domain.messages import UNCLASSIFIED, CommonLevel, DataCategory, Handling, Tlp, Urgency
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.strict_tables import AUTHORITY, LANGUAGE, Table, from_canonical, gather, load_toml, spread, to_canonical
from hub.formats.strict_tables import write_toml as write_tables

MESSAGE_TYPE = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
PURPOSE = re.compile(r"(?=.{1,64}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")

_FORM = "accord-agreement-1"  # the shape of the canonical form; signed with the rest, so that it cannot be read as another
_INVALID = RefusalCode.INVALID_AGREEMENT
_ID = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(-[a-z0-9]+)*\Z")
_ARTICLE = re.compile(r"\w[\w(). -]{0,31}\Z")
_SIDE = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")
_SHA256_HEX = re.compile(r"[0-9a-f]{64}\Z")
_LIMIT = re.compile(r"([1-9][0-9]{0,3})(min|h|d)\Z")
_KEEPING = re.compile(r"([1-9][0-9]{0,3})(d|y)\Z")
_AFTER_END = re.compile(r"(keep_under_terms|return|destroy)\Z")
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "y": timedelta(days=365),  # never longer than the calendar year, so nothing is kept past its time
}
_LEVELS = {level.name.lower(): level for level in CommonLevel}
_ORDER = (
    "agreement",
    "signatories",
    "operating_authorities",
    "term",
    "suspensions",
    "purposes",
    "flows",
    "classification",
    "handling",
    "deadlines",
    "retention",
    "trust",
)


def read_agreement(toml_octets: bytes, message_types: Collection[str] | None = None) -> Agreement:
    """Read an agreement from its TOML form, with `canonical` and `digest` filled in.

    Args:
        toml_octets: UTF-8, at most 1 MiB.
        message_types: the types that the catalogue holds; with None a flow may name a type that is yet to come.

    Raises:
        Refusal: INVALID_AGREEMENT: an unknown or missing key, a rule without its article, or a contradiction.
    """
    document = load_toml(toml_octets, _INVALID)
    agreement = read_canonical(canonical_agreement(document))
    for index, flow in enumerate(agreement.flows):
        if message_types is not None and not flow.types <= set(message_types):
            raise Refusal(_INVALID, f"flows[{index}].types: names a message type that is not in the catalogue")
    return agreement


def canonical_agreement(document: dict[str, object]) -> bytes:
    """The octets that each operating authority signs (`typ` hub-agreement+jws), from the parsed TOML form.

    RFC 8785, arrays instead of tables with free keys, times in RFC 3339 UTC. `document` is used up.

    Raises:
        Refusal: INVALID_AGREEMENT: a value has no canonical form. Nothing else is checked here.
    """
    spread(document.get("agreement"), "title", "language", "text")
    signatories = document.get("signatories")
    for signatory in signatories if isinstance(signatories, list) else []:
        spread(signatory, "name", "language", "text")
    for section, rows, name, value in (("deadlines", "limits", "urgency", None), ("retention", "periods", "category", "keep")):
        table = document.get(section)
        if isinstance(table, dict):
            document[section] = {key: table.pop(key) for key in ("article",) if key in table} | {rows: table}
            spread(document[section], rows, name, value)
    return to_canonical(document | {"form": _FORM}, _INVALID)


def write_toml(agreement: Agreement) -> str:
    """Write an agreement as TOML: reading that gives the same canonical octets again. Comments and zones are not kept."""
    document = from_canonical(agreement.canonical, _INVALID)
    del document["form"]
    head = document["agreement"]
    signatories = document["signatories"]
    assert isinstance(head, dict) and isinstance(signatories, list)  # noqa: S101,PT018 - read_canonical checked it
    gather(head, "title", "language", "text")
    for signatory in signatories:
        gather(signatory, "name", "language", "text")
    for section, rows, name, value in (("deadlines", "limits", "urgency", None), ("retention", "periods", "category", "keep")):
        table = document.get(section)
        if isinstance(table, dict):
            gather(table, rows, name, value)
            document[section] = {"article": table["article"], **table[rows]}
    return write_tables(document, _ORDER)


def read_canonical(octets: bytes) -> Agreement:
    """Read an agreement from its canonical form, as it stands in the database.

    Raises:
        Refusal: INVALID_AGREEMENT, as for `read_agreement`, or the octets are not canonical.
    """
    document = Table(from_canonical(octets, _INVALID), "", _INVALID)
    if document.text("form") != _FORM:
        raise document.refuse("form", f"must be {_FORM}")
    head = document.table("agreement")
    purposes = document.table("purposes")
    classification = document.table("classification")
    handling = document.table("handling")
    trust = document.table("trust")
    deadlines_article, deadlines = _read_deadlines(document)
    retention_article, retention = _read_retention(document)
    agreement = Agreement(
        id=head.text("id", _ID),
        version=head.whole("version"),
        kind=head.code_of("kind", AgreementKind),
        titles=_read_titles(head),
        signatories=tuple(_read_signatory(one) for one in document.tables("signatories", at_least=1)),
        operating_authorities=tuple(_read_operator(one) for one in document.tables("operating_authorities", at_least=2)),
        term=_read_term(document),
        purposes_article=purposes.text("article", _ARTICLE),
        purposes=frozenset(purposes.texts("allowed", PURPOSE)),
        flows=tuple(_read_flow(one) for one in document.tables("flows", at_least=1)),
        classification_article=classification.text("article", _ARTICLE),
        classification=_read_levels(classification),
        handling_article=handling.text("article", _ARTICLE),
        handling=handling.codes_of("codes", Handling),
        deadlines_article=deadlines_article,
        deadlines=deadlines,
        retention_article=retention_article,
        retention=retention,
        trust_article=trust.text("article", _ARTICLE),
        trust=trust.code_of("hub", TrustMode),
        canonical=octets,
        digest=b64url_encode(hashlib.sha256(octets).digest()),
    )
    for table in (head, purposes, classification, handling, trust, document):
        table.end()
    _check_sides(agreement)
    _check_flows(agreement)
    return agreement


def _read_titles(head: Table) -> dict[str, str]:
    titles = head.names("title")
    head.text("authentic_text_sha256", _SHA256_HEX)
    if not set(head.texts("authentic_languages", LANGUAGE)) <= titles.keys():
        raise head.refuse("authentic_languages", "names a language that has no title")
    return titles


def _read_signatory(table: Table) -> Signatory:
    signatory = Signatory(names=table.names("name"), on_behalf_of=table.text("on_behalf_of", _SIDE))
    table.end()
    return signatory


def _read_operator(table: Table) -> OperatingAuthority:
    operator = OperatingAuthority(
        authority=table.text("authority", AUTHORITY),
        party=table.text("party", _SIDE),
        article=table.text("article", _ARTICLE),
    )
    table.end()
    return operator


def _read_term(document: Table) -> Term:
    table = document.table("term")
    term = Term(
        article=table.text("article", _ARTICLE),
        start=table.moment("in_force_from"),
        end=table.moment_if_any("in_force_until"),
        after_end=table.text("after_end", _AFTER_END),
        suspensions=tuple(_read_suspension(one) for one in document.tables("suspensions")),
    )
    if term.end is not None and term.end <= term.start:
        raise table.refuse("in_force_until", "must be after in_force_from")
    table.end()
    return term


def _read_suspension(table: Table) -> Suspension:
    suspension = Suspension(
        start=table.moment("from"),
        end=table.moment_if_any("until"),
        reason=table.text("reason"),
        article=table.text("article", _ARTICLE),
    )
    if suspension.end is not None and suspension.end <= suspension.start:
        raise table.refuse("until", "must be after from")
    table.end()
    return suspension


def _read_flow(table: Table) -> Flow:
    flow = Flow(
        article=table.text("article", _ARTICLE),
        senders=frozenset(table.texts("from", AUTHORITY)),
        recipients=frozenset(table.texts("to", AUTHORITY)),
        types=frozenset(table.texts("types", MESSAGE_TYPE)),
        categories=table.codes_of("categories", DataCategory),
        highest_classification=_read_level(table, "highest_classification"),
        widest_tlp=table.code_of("widest_tlp", Tlp),
        uncovered_category=table.code_of("uncovered_category", UncoveredCategory),
    )
    table.end()
    return flow


def _read_level(table: Table, key: str) -> CommonLevel:
    level = _LEVELS.get(table.text(key))
    if level is None:
        raise table.refuse(key, f"is none of {', '.join(_LEVELS)}")
    return level


def _read_levels(table: Table) -> dict[tuple[str, str], CommonLevel]:
    levels: dict[tuple[str, str], CommonLevel] = {}
    for row in table.tables("levels"):
        key = (row.text("party", _SIDE), row.text("theirs"))
        if key in levels or key[1] == UNCLASSIFIED:
            raise row.refuse("theirs", f"is mapped twice, or is {UNCLASSIFIED}, which needs no mapping")
        levels[key] = _read_level(row, "common")
        row.end()
    return levels


def _read_deadlines(document: Table) -> tuple[str, dict[Urgency, Deadline]]:
    if not document.has("deadlines"):
        return "", {}
    table = document.table("deadlines")
    deadlines: dict[Urgency, Deadline] = {}
    for row in table.tables("limits", at_least=1):
        urgency = row.code_of("urgency", Urgency)
        if urgency in deadlines:
            raise row.refuse("urgency", "occurs twice")
        deadlines[urgency] = Deadline(_read_period(row, "reply", _LIMIT), _read_period(row, "acknowledge", _LIMIT))
        if deadlines[urgency].acknowledge > deadlines[urgency].reply:
            raise row.refuse("acknowledge", "must not be longer than reply")
        row.end()
    article = table.text("article", _ARTICLE)
    table.end()
    return article, deadlines


def _read_retention(document: Table) -> tuple[str, dict[str, timedelta]]:
    if not document.has("retention"):
        return "", {}
    table = document.table("retention")
    retention: dict[str, timedelta] = {}
    for row in table.tables("periods", at_least=1):
        category = row.text("category")
        if category not in ("default", *DataCategory) or category in retention:
            raise row.refuse("category", f"occurs twice, or is none of default, {', '.join(DataCategory)}")
        retention[category] = _read_period(row, "keep", _KEEPING)
        row.end()
    article = table.text("article", _ARTICLE)
    table.end()
    return article, retention


def _read_period(table: Table, key: str, form: re.Pattern[str]) -> timedelta:
    match = form.match(table.text(key))
    if match is None:
        raise table.refuse(key, "must be a whole number and its unit, such as 8h, 3d or (to keep data) 5y")
    return int(match[1]) * _UNITS[match[2]]


def _check_sides(agreement: Agreement) -> None:
    operators = [one.authority for one in agreement.operating_authorities]
    if len(set(operators)) != len(operators):
        raise Refusal(_INVALID, "operating_authorities: an authority occurs twice")
    sides = {one.party for one in agreement.operating_authorities}
    if {one.on_behalf_of for one in agreement.signatories} != sides:
        raise Refusal(_INVALID, "signatories: each side of the operating authorities, and no other, must have signed")
    if not {party for party, _ in agreement.classification} <= sides:
        raise Refusal(_INVALID, "classification.levels: names a side that has no operating authority")


def _check_flows(agreement: Agreement) -> None:
    operators = {one.authority for one in agreement.operating_authorities}
    for index, flow in enumerate(agreement.flows):
        if not flow.senders | flow.recipients <= operators:
            raise Refusal(_INVALID, f"flows[{index}]: names an authority that is not an operating authority")
        if len(flow.senders | flow.recipients) == 1:
            raise Refusal(_INVALID, f"flows[{index}]: leads from an authority to itself")
    for (first, one), (second, other) in combinations(enumerate(agreement.flows), 2):
        overlap = one.senders & other.senders and one.recipients & other.recipients and one.types & other.types
        if overlap and one.uncovered_category is not other.uncovered_category:
            raise Refusal(_INVALID, f"flows[{first}] and flows[{second}]: overlap, and disagree on uncovered_category")
