"""Headers and bodies against the catalogue: each rule provoked alone, and never a value in what is said about it."""

import base64
import hashlib
from typing import Any

import pytest

from hub.domain.encoding import b64url_encode
from hub.domain.messages import DataCategory, Handling, PresentField, Tlp, Urgency
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.bodies import MAX_FINDINGS, MAX_INLINE_BYTES
from tests.message_examples import GONE, catalogue, change, example, reader

TYPES = sorted(name for name, _ in catalogue().types)
CONSENT_OF_MINOR: list[tuple[str, object]] = [("/person/age_group", "minor"), ("/consent/decision", "assent")]
BEST_INTEREST = {"decided_by": "高雄市政府社會局", "decided_on": "2026-11-21", "decision": "安置為宜。", "heard_the_child": True}
NO_IDENTITY: list[tuple[str, object]] = [
    ("/person/identity", GONE),
    ("/person/documents", GONE),
    ("/victim_contact", GONE),
    ("/safe_contact", GONE),
]

Changes = list[tuple[str, object]]


def refusal_of(type_: str, changes: Changes) -> Refusal:
    """What reading an example says after changes; a pointer starts with /header or /body."""
    header, body = example(type_)
    message = {"header": header, "body": body}
    for pointer, new in changes:
        change(message, pointer, new)
    with pytest.raises(Refusal) as caught:
        reader().read_body(reader().read_header(message["header"]), message["body"])
    return caught.value


def violations(refusal: Refusal) -> set[tuple[str, str]]:
    assert refusal.code is RefusalCode.SCHEMA_VIOLATION
    assert all(one.rule == "schema" and one.code is RefusalCode.SCHEMA_VIOLATION for one in refusal.findings)
    return {(dict(one.values)["path"], dict(one.values)["rule"]) for one in refusal.findings}


def in_body(changes: Changes) -> Changes:
    return [(f"/body{pointer}", new) for pointer, new in changes]


@pytest.mark.parametrize("type_", TYPES)
def test_an_example_is_read(type_: str) -> None:
    header, body = example(type_)
    fields = reader().read_body(reader().read_header(header), body)
    assert len({one.path for one in fields}) == len(fields) > 30


def test_a_header_becomes_typed_values() -> None:
    header = reader().read_header(example("ht-referral")[0])
    assert (header.sender, header.recipients, header.schema) == ("tw.nia", ("tw.shelter.garden",), 1)
    assert (header.urgency, header.tlp, header.handling) == (
        Urgency.U1,
        Tlp.AMBER_STRICT,
        frozenset({Handling.H1, Handling.H2}),
    )
    assert header.issued.isoformat() == "2026-11-22T02:40:00+00:00"
    assert (header.case, header.attachments) == ("", ())


def test_a_header_may_do_without_every_optional_member() -> None:
    header, _ = example("ht-referral")
    needed = {one.name: header[one.name] for one in catalogue().header.fields if one.required}
    read = reader().read_header(needed | {"urgency": "N", "classification": "none"})
    assert (read.handling, read.attachments, read.case, read.retain_until) == (frozenset(), (), "", "")


RULES: list[tuple[str, Changes, str, str]] = [
    # header
    ("ht-referral", [("/header/urgency_ground", GONE)], "/header", "urgent_needs_ground"),
    ("ht-referral", [("/header/declassify", GONE)], "/header", "level_needs_declassification"),
    ("ht-referral", [("/header/handling", ["H0", "H3"])], "/header", "h3_needs_text"),
    ("ht-referral", [("/header/expires", "2026-11-22T02:39:59.9Z")], "/header", "expires_after_issued"),
    # consent
    ("ht-referral", [("/body/consent/informed_of_research", GONE)], "/body/consent", "consent_is_recorded"),
    ("ht-referral", [("/body/consent/scope", GONE)], "/body/consent", "consent_is_recorded"),
    ("ht-referral", [("/body/consent/informed_of_use", False)], "/body/consent", "consent_is_informed"),
    (
        "ht-referral",
        [("/body/consent/decision", "not_required"), ("/body/consent/ground", "life_risk")],
        "/body/consent",
        "no_consent_needs_ground",
    ),
    (
        "ht-referral",
        [
            ("/body/consent/decision", "refused"),
            ("/body/consent/ground", "statutory_duty"),
            ("/body/consent/ground_text", "第 9 條"),
        ],
        "/body/consent",
        "refusal_yields_to_life_only",
    ),
    ("ht-referral", [("/body/consent/expires_at", "2026-11-21T14:04:59Z")], "/body/consent", "expires_after_given"),
    (
        "ht-referral",
        [*in_body(NO_IDENTITY), ("/body/consent/withdrawn_at", "2026-11-20T00:00:00Z")],
        "/body/consent",
        "withdrawn_after_given",
    ),
    # referral
    ("ht-referral", in_body([("/consent/decision", "assent")]), "/body", "adult_decides"),
    (
        "ht-referral",
        in_body([("/consent/decision", "not_required"), ("/consent/ground", "statutory_duty"), ("/consent/ground_text", "通報")]),
        "/body",
        "adult_without_consent_is_at_risk",
    ),
    ("ht-referral", in_body([("/consent/decision", "refused")]), "/body", "refused_means_anonymous"),
    ("ht-referral", in_body([("/consent/withdrawn_at", "2026-11-22T01:00:00Z")]), "/body", "withdrawn_means_anonymous"),
    ("ht-referral", in_body(CONSENT_OF_MINOR), "/body", "minor_needs_best_interest"),
    ("ht-referral", in_body([("/person/age_group", "unknown")]), "/body", "minor_needs_best_interest"),
    ("ht-referral", in_body([("/person/age_group", "minor"), ("/best_interest", BEST_INTEREST)]), "/body", "minor_assents"),
    ("ht-referral", in_body([("/reason", "Other"), ("/details", GONE)]), "/body", "other_reason_is_explained"),
    ("ht-referral", in_body([("/escort/arrival_at", "2026-11-22T04:00:00Z")]), "/body/escort", "arrival_after_departure"),
    ("ht-referral", in_body([("/family_contact/persons", GONE)]), "/body/family_contact", "named_persons_are_named"),
    (
        "ht-referral",
        in_body([("/placement/household_registered", True)]),
        "/body/placement",
        "nationals_are_placed_by_their_municipality",
    ),
    ("ht-referral", in_body([("/placement/visa_kind", GONE)]), "/body/placement", "visa_is_named"),
    ("ht-referral", in_body([("/placement/visa_kind", "work")]), "/body/placement", "workers_are_placed_by_labour"),
    (
        "ht-referral",
        in_body([("/placement/responsible_body", "ministry_of_labor")]),
        "/body/placement",
        "others_are_placed_by_immigration",
    ),
    # request and answer
    ("info-request", in_body([("/kind", "subsequent")]), "/body", "further_request_names_earlier"),
    ("info-request", in_body([("/urgency_reasons", GONE)]), "/body", "urgency_is_explained"),
    ("info-request", in_body([("/time_frame/to", "2025-12-31")]), "/body/time_frame", "to_after_from"),
    ("info-request", in_body([("/subjects/1/phone", {"number": "+886912000111"})]), "/body/subjects/1", "one_thing"),
    ("info-request", in_body([("/subjects/1/account", GONE)]), "/body/subjects/1", "one_thing"),
    ("info-response", in_body([("/facts", GONE)]), "/body", "answer_has_facts"),
    ("info-response", in_body([("/outcome", "NO_TRACE")]), "/body", "no_trace_has_no_facts"),
    ("info-response", in_body([("/outcome", "NOT_COMPETENT"), ("/facts", GONE)]), "/body", "not_competent_names_who_is"),
    ("info-response", in_body([("/outcome", "CLARIFICATION")]), "/body", "clarification_asks"),
    ("info-response", in_body([("/outcome", "DELAY")]), "/body", "delay_is_explained"),
    ("info-response", in_body([("/outcome", "REFUSED"), ("/facts", GONE), ("/refusals", GONE)]), "/body", "refusal_has_ground"),
    (
        "info-response",
        in_body([("/delay", {"reason": "judicial_authorisation", "expected_at": "2026-12-01T00:00:00Z"})]),
        "/body",
        "judicial_delay_is_documented",
    ),
    (
        "info-response",
        in_body([("/delay", {"reason": "other", "expected_at": "2026-12-01T00:00:00Z"})]),
        "/body/delay",
        "other_delay_is_explained",
    ),
    (
        "info-response",
        in_body([("/judicial_authorisation", {"asked_at": "2026-11-23T00:00:00Z", "expected_at": "2026-11-22T00:00:00Z"})]),
        "/body/judicial_authorisation",
        "expected_after_asked",
    ),
    *(
        ("info-response", in_body([("/facts/3/evaluation", evaluation)]), "/body/facts/3/evaluation", rule)
        for rule, evaluation in {
            "europol_4x4_codes": {"scheme": "europol-4x4", "source": "D", "information": "3"},
            "uk_3x5x2_codes": {"scheme": "uk-3x5x2", "source": "1", "information": "F"},
            "uk_5x5x5_codes": {"scheme": "uk-5x5x5", "source": "X", "information": "3"},
            "admiralty_codes": {"scheme": "admiralty", "source": "B", "information": "7"},
            "sfd_form_a_codes": {"scheme": "sfd-form-a", "source": "B", "information": "certain"},
        }.items()
    ),
]


@pytest.mark.parametrize(("type_", "changes", "pointer", "rule"), RULES)
def test_a_rule_between_fields_refuses_alone(type_: str, changes: Changes, pointer: str, rule: str) -> None:
    assert violations(refusal_of(type_, changes)) == {(pointer, rule)}


def test_every_rule_of_the_catalogue_is_provoked_here() -> None:
    def rules_in(group: Any) -> set[str]:
        below = [rules_in(one.group) for one in group.fields if one.group]
        return {rule.name for rule in group.rules}.union(*below)

    written = rules_in(catalogue().header).union(*(rules_in(one.body) for one in catalogue().types.values()))
    assert {rule for _, _, _, rule in RULES} == written


ALLOWED: list[tuple[str, Changes]] = [
    ("a refused consent by pseudonym", [("/consent/decision", "refused"), *NO_IDENTITY]),
    ("a withdrawn consent by pseudonym", [("/consent/withdrawn_at", "2026-11-22T01:00:00Z"), *NO_IDENTITY]),
    (
        "a refusal set aside for a risk to life",
        [("/consent/decision", "refused"), ("/consent/ground", "life_risk"), ("/consent/ground_text", "已遭恐嚇。")],
    ),
    ("a minor's assent with the decision", [*CONSENT_OF_MINOR, ("/best_interest", BEST_INTEREST)]),
    ("a birth year alone", [("/person/identity/birth_date", "2001")]),
    ("a birth date in full", [("/person/identity/birth_date", "2000-02-29")]),
    ("text of several lines", [("/details", "一\n二\t三")]),
    (
        "a decimal number as text",
        [("/referring_organisation/longitude", "121.5654"), ("/referring_organisation/latitude", "-25")],
    ),
]


@pytest.mark.parametrize("changes", [changes for _, changes in ALLOWED], ids=[name for name, _ in ALLOWED])
def test_what_the_rules_allow_is_read(changes: Changes) -> None:
    header, body = example("ht-referral")
    for pointer, new in changes:
        change(body, pointer, new)
    assert reader().read_body(reader().read_header(header), body)


FIELDS: list[tuple[Changes, str, str]] = [
    ([("/body/person/pseudonym", GONE)], "/body/person/pseudonym", "required"),
    ([("/body/consent", GONE)], "/body/consent", "required"),
    ([("/body/person/nickname", "x")], "/body/person", "unknown_field"),
    ([("/body/reason", "Boredom")], "/body/reason", "enum"),
    ([("/body/needs/-", "Shopping")], "/body/needs/5", "enum"),
    ([("/body/needs/-", "Health")], "/body/needs", "uniqueItems"),
    ([("/body/needs", [])], "/body/needs", "minItems"),
    ([("/body/needs", "Health")], "/body/needs", "type"),
    ([("/body/risk", {})], "/body/risk", "minProperties"),
    ([("/body/risk/immediate_danger", "yes")], "/body/risk/immediate_danger", "type"),
    ([("/body/person/identity/family_name", "N" * 201)], "/body/person/identity/family_name", "maxLength"),
    ([("/body/person/identity/family_name", "")], "/body/person/identity/family_name", "minLength"),
    ([("/body/person/identity/family_name", " NGUYEN")], "/body/person/identity/family_name", "pattern"),
    ([("/body/person/identity/family_name", "NGU\u0000YEN")], "/body/person/identity/family_name", "pattern"),
    ([("/body/person/identity/family_name", "NGU\nYEN")], "/body/person/identity/family_name", "pattern"),
    ([("/body/person/identity/other_names", ["a"] * 21)], "/body/person/identity/other_names", "maxItems"),
    ([("/body/person/identity/birth_date", "2001-13")], "/body/person/identity/birth_date", "pattern"),
    ([("/body/person/identity/birth_date", "2001-02-30")], "/body/person/identity/birth_date", "no_such_value"),
    ([("/body/person/identity/birth_date", "0000")], "/body/person/identity/birth_date", "no_such_value"),
    ([("/body/referral_date", "2026-11-31")], "/body/referral_date", "no_such_value"),
    ([("/body/escort/departure_at", "2026-11-22T25:00:00Z")], "/body/escort/departure_at", "no_such_value"),
    ([("/body/escort/departure_at", "2026-11-22T05:00:00+08:00")], "/body/escort/departure_at", "pattern"),
    ([("/body/victim/age_when_trafficked", 121)], "/body/victim/age_when_trafficked", "maximum"),
    ([("/body/victim/age_when_trafficked", 24.0)], "/body/victim/age_when_trafficked", "no_such_value"),
    ([("/body/victim/age_when_trafficked", True)], "/body/victim/age_when_trafficked", "type"),
    ([("/body/victim_contact", "0912-345-678")], "/body/victim_contact", "pattern"),
    ([("/body/referring_organisation/longitude", "121,5")], "/body/referring_organisation/longitude", "pattern"),
    ([("/header/id", "0192f3a4-6c00-4a31-9f02-5d1c8be04471")], "/header/id", "pattern"),
    ([("/header/recipients", [])], "/header/recipients", "minItems"),
    ([("/header/recipients", ["tw.nia", "tw.nia"])], "/header/recipients", "uniqueItems"),
    ([("/header/recipients", [f"tw.a{at}" for at in range(10_000)])], "/header/recipients", "maxItems"),
    ([("/header/agreement", GONE)], "/header/agreement", "required"),
    ([("/header/salt", GONE)], "/header/salt", "required"),
    ([("/header/salt", "A" * 21 + "B")], "/header/salt", "pattern"),
    ([("/header/tlp", "AMBER")], "/header/tlp", "enum"),
    ([("/header/v", 2)], "/header/v", "maximum"),
    ([("/header/retain_until", "2026-02-29")], "/header/retain_until", "no_such_value"),
    ([("/header/legal_basis", "x")], "/header", "unknown_field"),
]


@pytest.mark.parametrize(("changes", "pointer", "rule"), FIELDS, ids=[f"{at} {rule}" for at, (_, _, rule) in enumerate(FIELDS)])
def test_a_field_that_does_not_fit_is_refused(changes: Changes, pointer: str, rule: str) -> None:
    assert (pointer, rule) in violations(refusal_of("ht-referral", changes))


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_a_header_or_body_that_is_no_object_is_refused(value: object) -> None:
    header = reader().read_header(example("ht-referral")[0])
    with pytest.raises(Refusal) as of_header:
        reader().read_header(value)
    with pytest.raises(Refusal) as of_body:
        reader().read_body(header, value)
    assert violations(of_header.value) == {("/header", "type")}
    assert violations(of_body.value) == {("/body", "type")}


def test_all_violations_are_listed_at_once_up_to_the_limit() -> None:
    refusal = refusal_of("ht-referral", [("/body/needs", ["x" + str(at) for at in range(60)])])
    assert len(refusal.findings) == MAX_FINDINGS


def test_several_violations_are_told_together() -> None:
    refusal = refusal_of("ht-referral", [("/body/reason", "?"), ("/body/consent/decision", GONE)])
    assert {("/body/reason", "enum"), ("/body/consent/decision", "required")} <= violations(refusal)


@pytest.mark.parametrize(
    "pointer", ["/body/person/identity/birth_date", "/body/reason", "/body/person/canary-阮氏", "/header/tlp", "/header/id"]
)
def test_a_refusal_never_repeats_a_value_or_an_unknown_name(pointer: str) -> None:
    refusal = refusal_of("ht-referral", [(pointer, "canary-阮氏")])
    assert "canary" not in str(refusal)
    assert "canary" not in repr(refusal.findings)


def test_an_unknown_type_is_refused() -> None:
    header, body = example("ht-referral")
    header["type"] = "ht-riferral"
    with pytest.raises(Refusal) as caught:
        reader().read_body(reader().read_header(header), body)
    assert caught.value.code is RefusalCode.UNKNOWN_TYPE


def test_an_unknown_version_of_a_type_is_refused() -> None:
    header, body = example("ht-referral")
    header["schema"] = 2
    with pytest.raises(Refusal) as caught:
        reader().read_body(reader().read_header(header), body)
    assert caught.value.code is RefusalCode.UNKNOWN_TYPE


@pytest.mark.parametrize("member", ["case", "in_reply_to"])
def test_an_answer_names_its_question(member: str) -> None:
    assert violations(refusal_of("info-response", [(f"/header/{member}", GONE)])) == {
        (f"/header/{member}", "reply_names_its_question")
    }


def test_a_rule_about_the_header_rests_where_the_header_does_not_match() -> None:
    header, body = example("info-request")
    header["urgency"] = "R"
    del body["urgency_reasons"]
    assert reader().read_body(reader().read_header(header), body)


# what is present


def present(type_: str) -> dict[str, PresentField]:
    header, body = example(type_)
    return {one.path: one for one in reader().read_body(reader().read_header(header), body)}


@pytest.mark.parametrize(
    ("path", "category"),
    [
        ("/referral_date", None),
        ("/referring_case_worker/name", None),
        ("/person/pseudonym", None),
        ("/person/identity/family_name", DataCategory.IDENTITY),
        ("/person/identity/citizenships", DataCategory.IDENTITY),
        ("/person/documents/0/number", DataCategory.DOCUMENT),
        ("/victim/exploitation_types", DataCategory.VICTIM),
        ("/historic_events/1/description", DataCategory.VICTIM),
        ("/perpetrators/0/role_details", DataCategory.INTELLIGENCE),
        ("/health/conditions", DataCategory.HEALTH),
        ("/escort/carrier", DataCategory.TRAVEL),
        ("/safe_contact/times", DataCategory.CONTACT),
    ],
)
def test_a_leaf_has_the_category_of_the_nearest_group_that_has_one(path: str, category: DataCategory | None) -> None:
    assert present("ht-referral")[path] == PresentField(path, category)


def test_a_field_may_have_another_category_than_its_group() -> None:
    fields = present("info-response")
    assert fields["/facts/0/subject/person/identity/identity_number"].category is DataCategory.DOCUMENT
    assert fields["/facts/0/subject/person/identity/family_name"].category is DataCategory.IDENTITY
    assert fields["/facts/1/criminal_records/0/offence/law"].category is DataCategory.CRIMINAL_RECORD


def test_a_sealed_part_is_one_field_that_is_not_seen() -> None:
    assert present("ht-referral")["/victim_contact"] == PresentField("/victim_contact", DataCategory.CONTACT, sealed=True)


# attachments


def attachment(octets: bytes, **changed: object) -> dict[str, object]:
    made: dict[str, object] = {
        "name": "X光片.png",
        "media_type": "image/png",
        "category": "health",
        "sha256": b64url_encode(hashlib.sha256(octets).digest()),
        "size": len(octets),
        "content": base64.b64encode(octets).decode(),
    }
    return made | changed


def test_an_attachment_is_a_present_field_of_the_category_it_names() -> None:
    header, body = example("ht-referral")
    header["attachments"] = [attachment(b"one"), attachment(b"two", category="identity")]
    read = reader().read_header(header)
    assert read.attachments[0].category is DataCategory.HEALTH
    assert reader().read_body(read, body)[-2:] == (
        PresentField("/header/attachments/0", DataCategory.HEALTH),
        PresentField("/header/attachments/1", DataCategory.IDENTITY),
    )


@pytest.mark.parametrize(
    ("made", "pointer", "rule"),
    [
        (attachment(b"one", size=4), "/header/attachments/0/size", "size_of_content"),
        (attachment(b"one", sha256="A" * 43), "/header/attachments/0/sha256", "digest_of_content"),
        (attachment(b"one", content="b25"), "/header/attachments/0/content", "pattern"),
        (attachment(b"on", content="b25="), "/header/attachments/0/content", "canonical_base64"),
        (attachment(b"one", name="../etc/passwd"), "/header/attachments/0/name", "pattern"),
        (attachment(b"one", category="secret"), "/header/attachments/0/category", "enum"),
        (attachment(b"one", url="https://x.example"), "/header/attachments/0", "unknown_field"),
    ],
)
def test_an_attachment_that_does_not_fit_is_refused(made: dict[str, object], pointer: str, rule: str) -> None:
    assert violations(refusal_of("ht-referral", [("/header/attachments", [made])])) == {(pointer, rule)}


def test_attachments_fill_one_mebibyte_together_and_no_more() -> None:
    halves = [attachment(b"a" * (MAX_INLINE_BYTES // 2)), attachment(b"b" * (MAX_INLINE_BYTES // 2))]
    header, _ = example("ht-referral")
    header["attachments"] = halves
    assert len(reader().read_header(header).attachments) == 2
    refusal = refusal_of("ht-referral", [("/header/attachments", [*halves, attachment(b"c")])])
    assert violations(refusal) == {("/header/attachments", "max_inline_bytes")}
