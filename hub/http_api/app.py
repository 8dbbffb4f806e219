"""The machine interface as one WSGI application over one hub."""

from __future__ import annotations

from importlib.metadata import version

from flask import Flask, Response, g

from hub.http_api import agreements, discovery, evidence, health, inbox, measurements, messages, pages, problems, tokens
from hub.http_api.openapi import new_application, register
from hub.http_api.requests import HUB_EXTENSION
from hub.services.hub import Hub

SECTIONS = (
    discovery.section,
    tokens.section,
    messages.section,
    inbox.section,
    evidence.section,
    agreements.section,
    health.section,
    pages.section,
)

_DESCRIPTION = """\
Agencies that have signed an agreement exchange crime information and trafficking referrals here. A message is signed by its
sender, sealed to the hub, judged under the one agreement that it names, and sealed again for each recipient.

What is refused is answered with a signed problem document (RFC 9457): its header Accord-Signature is a detached compact JWS of
type hub-problem+jws over the body. A message authenticates itself; reading needs an access token bound to your key by DPoP."""
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TRANSPORT_SECURITY = "max-age=63072000"


def create_app(hub: Hub) -> Flask:
    """Build the application. Call it after forking, as `build_hub`."""
    application = new_application("Accord", version("accord-hub"), _DESCRIPTION)
    application.extensions[HUB_EXTENSION] = hub
    measurements.install(application)
    problems.install(application, hub)
    register(application, SECTIONS)
    application.after_request(_secure)
    if hub.issuer.startswith("https:"):
        application.after_request(_require_transport_security)
    return application


def _secure(response: Response) -> Response:
    """The headers of every answer; a route may have set its own."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    if "nonce" in g:
        response.headers["DPoP-Nonce"] = g.nonce
    return response


def _require_transport_security(response: Response) -> Response:
    response.headers["Strict-Transport-Security"] = _TRANSPORT_SECURITY
    return response
