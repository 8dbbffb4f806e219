"""The only place that knows flask-openapi: routes that carry their own description, and the OpenAPI 3.1 document made from them.

A route's docstring is its summary and description; its query and path are pydantic models in its signature; what it takes, gives
and refuses stands in its decorator. Bodies are never parsed here: they reach the services as the octets that arrived.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from pathlib import Path
from typing import Any, TypeVar, cast

from flask import Flask, Response
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.info import Info
from flask_openapi.models.schema import Schema
from flask_openapi.models.security_scheme import SecurityScheme
from flask_openapi.models.tag import Tag
from flask_openapi.openapi import OpenAPI
from pydantic import BaseModel, ValidationError

from hub.domain.refusals import MEANINGS, Refusal, RefusalCode
from hub.http_api.problems import PROBLEM_MEDIA_TYPE, STATUSES, Problem

OPENAPI_VERSION = "3.1.0"
JSON = "application/json"

View = TypeVar("View", bound=Callable[..., Response])
Refuses = Sequence[RefusalCode]

_REFERENCE = "#/components/schemas/"
_EXAMPLES = Path(__file__).parent / "templates" / "examples.json"
_FAULT = "A fault of the hub: `code` is `internal`, and `instance` is the reference number to quote."
_TOKEN_SCHEME = "dpop"  # noqa: S105 - the name of a scheme
_TOKEN_REFUSES = (RefusalCode.INVALID_TOKEN,)


@dataclass(frozen=True)
class Content:
    """A body that is taken or given: what it is, its media type, and its model or an example of its octets."""

    description: str
    media_type: str = JSON
    model: type[BaseModel] | None = None
    example: str | None = None


Gives = Mapping[int, Content]


class Section:
    """Routes that belong together, under one heading of the documentation."""

    def __init__(self, name: str, about: str) -> None:
        tag = Tag(name=name, description=about)
        self.blueprint = APIBlueprint(name.lower().replace(" ", "_"), __name__, abp_tags=[tag], operation_id_callback=_own_name)

    def get(self, path: str, gives: Gives, *, refuses: Refuses = (), token: bool = False) -> Callable[[View], View]:
        """A route that reads. `gives` names its answers by status; `token` says that it needs an access token."""

        def add(view: View) -> View:
            described = self._describe(view, gives, refuses, token)
            self.blueprint.get(path, **described)(view)
            return view

        return add

    def post(
        self, path: str, takes: Content, gives: Gives, *, refuses: Refuses = (), token: bool = False
    ) -> Callable[[View], View]:
        """A route that takes a body."""
        body = {"description": takes.description, "content": self._content(takes), "required": True}

        def add(view: View) -> View:
            described = self._describe(view, gives, refuses, token)
            self.blueprint.post(path, request_body=body, **described)(view)
            return view

        return add

    def _describe(self, view: View, gives: Gives, refuses: Refuses, token: bool) -> dict[str, Any]:
        summary, _, more = (getdoc(view) or "").partition("\n")
        responses: dict[int, dict[str, Any]] = {
            status: {"description": one.description, "content": self._content(one)} for status, one in gives.items()
        }
        by_status: dict[int, list[str]] = defaultdict(list)
        always = () if STATUSES[RefusalCode.OVERLOADED] in gives else (RefusalCode.OVERLOADED,)
        for code in (*refuses, *(_TOKEN_REFUSES if token else ()), *always):
            by_status[STATUSES[code]].append(f"`{code.value}`: {MEANINGS[code]}")
        by_status[500].append(_FAULT)
        schema = {"schema": {"$ref": f"{_REFERENCE}{Problem.__name__}"}}
        for status, lines in sorted(by_status.items()):
            responses[status] = {"description": "\n\n".join(lines), "content": {PROBLEM_MEDIA_TYPE: schema}}
        return {
            "summary": summary.removesuffix("."),
            "description": more.strip() or summary,
            "responses": responses,
            "security": [{_TOKEN_SCHEME: []}] if token else None,
        }

    def _content(self, content: Content) -> dict[str, Any]:
        if content.model is None:
            example = {} if content.example is None else {"example": content.example}
            return {content.media_type: {"schema": {"type": "string"}, **example}}
        schema = content.model.model_json_schema(ref_template=_REFERENCE + "{model}")
        for name, part in {**schema.pop("$defs", {}), content.model.__name__: schema}.items():
            self.blueprint.components_schemas[name] = Schema(**part)
        return {content.media_type: {"schema": {"$ref": f"{_REFERENCE}{content.model.__name__}"}}}


def new_application(title: str, version: str, description: str) -> Flask:
    """A Flask application that collects the descriptions of its routes, with no static files and no pages of its own."""
    scheme = SecurityScheme(
        type="http",
        scheme="DPoP",
        description="An access token from `POST /v1/token`, with a fresh DPoP proof in each request (RFC 9449).",
    )
    application = OpenAPI(
        __name__,
        info=Info(title=title, version=version, description=description),
        security_schemes={_TOKEN_SCHEME: scheme},
        validation_error_status=500,  # each route describes its own errors; this one is always among them
        validation_error_model=Problem,
        validation_error_callback=_refuse_invalid,
        doc_ui=False,
        static_folder=None,
    )
    application.openapi_version = OPENAPI_VERSION
    return application


def register(application: Flask, sections: Sequence[Section]) -> None:
    """Add the routes of the sections, in this order."""
    for section in sections:
        cast(OpenAPI, application).register_api(section.blueprint)


def document_of(application: Flask) -> dict[str, Any]:
    """The OpenAPI document of an application that `new_application` made, with the examples of its models."""
    document: dict[str, Any] = cast(OpenAPI, application).api_doc
    for name, example in json.loads(_EXAMPLES.read_bytes()).items():
        document["components"]["schemas"][name]["examples"] = [example]
    return document


def _own_name(*, name: str, **_: object) -> str:
    """Operations are called like their functions."""
    return name


def _refuse_invalid(error: ValidationError) -> Response:
    """Name what is wrong with the query or the path, without repeating what was sent."""
    unknown = "an unknown parameter"
    found = {
        unknown if one["type"] == "extra_forbidden" else f"{'.'.join(map(str, one['loc']))}: {one['type'].replace('_', ' ')}"
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    }
    raise Refusal(RefusalCode.INVALID_REQUEST, "; ".join(sorted(found))) from None
