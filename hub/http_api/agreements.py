"""The agreements that the caller operates under: read them, and sign a version."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel, Field

from hub.domain.encoding import format_time
from hub.domain.refusals import RefusalCode
from hub.http_api.openapi import JSON, Content, Section
from hub.http_api.requests import answer, current_caller, current_hub, read_jws
from hub.services.read_agreements import AgreementView, list_agreements, read_agreement, read_version
from hub.services.record_agreement import add_signature

section = Section("Agreements", "The agreements that you operate under. Others do not exist for you.")

_ID = "tw-referral-order-2024"


class Version(BaseModel):
    """One version. It governs nothing until every operating authority has signed it."""

    version: int
    digest: str = Field(description="base64url SHA-256 of the canonical form.")
    in_force_from: str
    in_force_until: str | None = None
    operating_authorities: list[str]
    signed_by: list[str]
    is_signed: bool


class Suspended(BaseModel):
    """A suspension that was recorded after signing."""

    start: str
    end: str | None = None
    reason: str


class AgreementSummary(BaseModel):
    """An agreement and its versions, ascending."""

    id: str
    titles: dict[str, str]
    kind: str
    governing_version: int = Field(
        description="The version that is asked for decisions now; 0 where none is signed by everybody."
    )
    versions: list[Version]
    suspensions: list[Suspended]
    ended_at: str | None = None


class Agreements(BaseModel):
    """Agreements, by id."""

    agreements: list[AgreementSummary]


class AgreementPath(BaseModel):
    """Names one agreement."""

    id: str = Field(max_length=64, description="The agreement's id.", examples=[_ID])


class VersionPath(AgreementPath):
    """Names one version of an agreement."""

    version: int = Field(ge=1, lt=2**31, examples=[1])


class SignatureRecorded(BaseModel):
    """The version, and whose signature it still lacks."""

    id: str
    version: int
    unsigned_by: list[str]


@section.get("/v1/agreements", {200: Content("Every agreement you operate under.", model=Agreements)}, token=True)
def show_agreements() -> Response:
    """List the agreements that you operate under."""
    views = list_agreements(current_hub(), current_caller())
    return answer(Agreements(agreements=[_describe(view) for view in views]))


@section.get(
    "/v1/agreements/<id>",
    {200: Content("The agreement.", model=AgreementSummary)},
    refuses=(RefusalCode.NOT_FOUND,),
    token=True,
)
def show_agreement(path: AgreementPath) -> Response:
    """Read what stands of one agreement: versions, signatures, suspensions, end."""
    return answer(_describe(read_agreement(current_hub(), current_caller(), path.id)))


@section.get(
    "/v1/agreements/<id>/versions/<version>",
    {200: Content("The canonical form: the very octets that the operating authorities sign.", JSON)},
    refuses=(RefusalCode.INVALID_REQUEST, RefusalCode.NOT_FOUND),
    token=True,
)
def show_version(path: VersionPath) -> Response:
    """Read one version in the form that is signed."""
    version = read_version(current_hub(), current_caller(), path.id, path.version)
    return Response(version.canonical, mimetype=JSON)


@section.post(
    "/v1/agreements/<id>/versions/<version>/signatures",
    Content(
        "A detached compact JWS of type hub-agreement+jws over the canonical form.",
        "application/jose",
        example="eyJhbGciOi...Q..kT9...",
    ),
    {200: Content("Recorded; the same for a repeat.", model=SignatureRecorded)},
    refuses=(
        RefusalCode.INVALID_REQUEST,
        RefusalCode.NOT_FOUND,
        RefusalCode.TOO_LARGE,
        RefusalCode.WRONG_MEDIA_TYPE,
        RefusalCode.MALFORMED_ENVELOPE,
        RefusalCode.UNSUPPORTED_PROFILE,
        RefusalCode.UNKNOWN_SENDER,
        RefusalCode.SENDER_MISMATCH,
        RefusalCode.SENDER_NOT_OPERATING,
        RefusalCode.KEY_NOT_VALID,
        RefusalCode.BAD_SIGNATURE,
    ),
    token=True,
)
def sign_version(path: VersionPath) -> Response:
    """Sign a version of an agreement, for your own authority."""
    jws = read_jws()
    draft = add_signature(current_hub(), path.id, path.version, jws, current_caller().authority)
    return answer(SignatureRecorded(id=path.id, version=path.version, unsigned_by=list(draft.unsigned_by)))


def _describe(view: AgreementView) -> AgreementSummary:
    record = view.record
    newest = record.versions[-1]
    versions = [
        Version(
            version=one.version,
            digest=one.digest,
            in_force_from=format_time(one.term.start),
            in_force_until=format_time(one.term.end) if one.term.end else None,
            operating_authorities=sorted(operator.authority for operator in one.operating_authorities),
            signed_by=sorted(record.signed_by.get(one.version, frozenset())),
            is_signed=record.is_signed(one),
        )
        for one in record.versions
    ]
    suspensions = [
        Suspended(start=format_time(one.start), end=format_time(one.end) if one.end else None, reason=one.reason)
        for one in record.suspensions
    ]
    return AgreementSummary(
        id=record.id,
        titles=dict(newest.titles),
        kind=newest.kind.value,
        governing_version=view.governing_version,
        versions=versions,
        suspensions=suspensions,
        ended_at=format_time(record.ended_at) if record.ended_at else None,
    )
