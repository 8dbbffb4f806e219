"""The description of this interface: as an OpenAPI document, and as one readable page that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from flask import Response, current_app, render_template
from markupsafe import Markup, escape

from hub.http_api.openapi import Content, Section, document_of

section = Section("Description", "This description itself.")

_STYLE = (Path(__file__).parent / "templates" / "docs.css").read_text(encoding="utf-8")
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@section.get("/openapi.json", {200: Content("The document.", "application/json")})
def show_openapi() -> Response:
    """Read this description as OpenAPI 3.1."""
    return Response(json.dumps(_document(), ensure_ascii=False), mimetype="application/json")


@section.get("/docs", {200: Content("The page.", "text/html")})
def show_page() -> Response:
    """Read this description as a page."""
    page = render_template("docs.html", document=_document(), style=_STYLE, sections=_sections(), prose=_prose)
    return Response(page, 200, {"Content-Security-Policy": PAGE_POLICY}, mimetype="text/html")


def _prose(text: str) -> Markup:
    """A description as it is read: lines run on, paragraphs stay apart, and what stands in backticks is code."""
    running = re.sub(r"(?<!\n)\n(?!\n)", " ", str(escape(text)))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", running))  # noqa: S704 - escaped above


def _document() -> dict[str, Any]:
    return document_of(current_app)


def _sections() -> list[tuple[dict[str, Any], list[tuple[str, str, dict[str, Any]]]]]:
    """For each tag its operations as (method, path, operation), in the order in which they were registered."""
    document = _document()
    operations = [
        (method.upper(), path, operation) for path, item in document["paths"].items() for method, operation in item.items()
    ]
    return [(tag, [one for one in operations if tag["name"] in one[2]["tags"]]) for tag in document["tags"]]
