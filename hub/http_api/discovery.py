"""What a client asks first: where everything is, and with which keys the hub signs."""

from __future__ import annotations

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from hub.domain.encoding import format_time
from hub.domain.keys import KeyRecord
from hub.domain.parties import HUB_PARTY, SealingProfile
from hub.domain.refusals import RefusalCode
from hub.http_api.openapi import Content, Section
from hub.http_api.requests import answer, current_hub
from hub.services.issue_token import SCOPE, TOKEN_PATH
from hub.services.publish_keys import publish_keys
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE

section = Section("Discovery", "Where everything is, and the public keys. Needs no token.")

_ALGORITHMS = ["ES256"]


class HubConfiguration(BaseModel):
    """What a partner's system needs to know of this hub."""

    name: str = Field(description="The hub's origin, as it stands in receipts and in the log's checkpoints.")
    issuer: str
    profiles: list[str]
    envelope_media_type: str
    max_envelope_bytes: int
    max_issued_ahead_seconds: int
    max_inbox_page: int
    max_inbox_wait_seconds: int
    keys_endpoint: str
    token_endpoint: str
    messages_endpoint: str
    inbox_endpoint: str
    agreements_endpoint: str
    log_prefix: str
    openapi: str


class AuthorizationServer(BaseModel):
    """Authorization server metadata (RFC 8414)."""

    issuer: str
    token_endpoint: str
    grant_types_supported: list[str]
    response_types_supported: list[str]
    scopes_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]
    token_endpoint_auth_signing_alg_values_supported: list[str]
    dpop_signing_alg_values_supported: list[str]


class KeysQuery(BaseModel):
    """Whose keys."""

    model_config = ConfigDict(extra="forbid")

    authority: str = Field(default=HUB_PARTY, max_length=64, description="An authority id; `hub` for the hub's own keys.")


class PublicKey(BaseModel):
    """One public key as the registry holds it. A signature counts only where the key was accepted when it was made."""

    kid: str
    owner: str
    use: str = Field(description="signing, sealing, role or client_auth.")
    role: str | None = Field(default=None, description="For a role key: the role that opens sealed parts with it.")
    signs: list[str] | None = Field(default=None, description="For a signing key: the signature types it may make.")
    custody: str = Field(description="own, or hub where the hub keeps the private half for the party.")
    state: str = Field(description="next, active, retiring or revoked.")
    not_before: str
    not_after: str
    jwk: dict[str, str]


class PublishedHub(BaseModel):
    """Whose answer this is."""

    name: str
    issuer: str


class Keys(BaseModel):
    """Public keys. Compare the hub's own with the fingerprints that you were given by another way before you rely on them."""

    hub: PublishedHub
    authority: str
    profile: str | None = Field(default=None, description="The party's one sealing profile.")
    keys: list[PublicKey]


@section.get("/.well-known/hub-configuration", {200: Content("The configuration.", model=HubConfiguration)})
def show_configuration() -> Response:
    """Read where everything is, and the hub's limits."""
    hub = current_hub()
    limits = hub.limits
    configuration = HubConfiguration(
        name=hub.name,
        issuer=hub.issuer,
        profiles=[profile.value for profile in SealingProfile],
        envelope_media_type=ENVELOPE_MEDIA_TYPE,
        max_envelope_bytes=limits.max_envelope_bytes,
        max_issued_ahead_seconds=int(limits.max_issued_ahead.total_seconds()),
        max_inbox_page=limits.max_inbox_page,
        max_inbox_wait_seconds=limits.max_inbox_wait_seconds,
        keys_endpoint=f"{hub.issuer}/v1/keys",
        token_endpoint=hub.issuer + TOKEN_PATH,
        messages_endpoint=f"{hub.issuer}/v1/messages",
        inbox_endpoint=f"{hub.issuer}/v1/inbox",
        agreements_endpoint=f"{hub.issuer}/v1/agreements",
        log_prefix=f"{hub.issuer}/v1/log",
        openapi=f"{hub.issuer}/openapi.json",
    )
    return answer(configuration)


@section.get("/.well-known/openid-configuration", {200: Content("The metadata.", model=AuthorizationServer)})
def show_openid_configuration() -> Response:
    """Read the token endpoint's metadata, where OpenID clients look for it."""
    return _authorization_server()


@section.get("/.well-known/oauth-authorization-server", {200: Content("The metadata.", model=AuthorizationServer)})
def show_authorization_server() -> Response:
    """Read the token endpoint's metadata (RFC 8414)."""
    return _authorization_server()


@section.get(
    "/v1/keys",
    {200: Content("The keys, by kid, in every state.", model=Keys)},
    refuses=(RefusalCode.INVALID_REQUEST, RefusalCode.NOT_FOUND),
)
def show_keys(query: KeysQuery) -> Response:
    """Read the public keys of the hub or of one party."""
    hub = current_hub()
    published = publish_keys(hub, query.authority)
    keys = Keys(
        hub=PublishedHub(name=hub.name, issuer=hub.issuer),
        authority=published.authority,
        profile=published.party.profile.value if published.party else None,
        keys=[_describe(key) for key in published.keys],
    )
    return answer(keys)


def _authorization_server() -> Response:
    issuer = current_hub().issuer
    metadata = AuthorizationServer(
        issuer=issuer,
        token_endpoint=issuer + TOKEN_PATH,
        grant_types_supported=["client_credentials"],
        response_types_supported=[],
        scopes_supported=[SCOPE],
        token_endpoint_auth_methods_supported=["private_key_jwt"],
        token_endpoint_auth_signing_alg_values_supported=_ALGORITHMS,
        dpop_signing_alg_values_supported=_ALGORITHMS,
    )
    return answer(metadata)


def _describe(key: KeyRecord) -> PublicKey:
    return PublicKey(
        kid=key.kid,
        owner=key.owner,
        use=key.use.value,
        role=key.role or None,
        signs=sorted(key.signs) or None,
        custody=key.custody.value,
        state=key.state.value,
        not_before=format_time(key.not_before),
        not_after=format_time(key.not_after),
        jwk=dict(key.jwk),
    )
