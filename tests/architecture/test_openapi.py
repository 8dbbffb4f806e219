"""The OpenAPI document says what the code does: every route, every answer, examples that fit, references that lead somewhere."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask

from hub.http_api.app import create_app
from tests.simulators.exchange import Exchange

PLACE = re.compile(r"<(?:[a-z]+:)?")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    exchange = Exchange(f"sqlite:///{tmp_path_factory.mktemp('hub')}/hub.sqlite")
    yield create_app(exchange.hub)
    exchange.close()


@pytest.fixture(scope="module")
def document(application: Flask) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(application.test_client().get("/openapi.json").data)
    return read


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{method} {path}", one) for path, item in document["paths"].items() for method, one in item.items()]


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_the_document_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert document["info"].keys() >= {"title", "version", "description"}


def test_every_route_is_in_the_document_and_nothing_else(application: Flask, document: dict[str, Any]) -> None:
    routes = {
        f"{method.lower()} {PLACE.sub('{', rule.rule).replace('>', '}')}"
        for rule in application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {name for name, _ in operations(document)} == routes


def test_every_operation_says_what_it_does_and_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    found = operations(document)
    assert [name for name, one in found if not (one["summary"] and one["description"])] == []
    assert len({one["operationId"] for _, one in found}) == len(found)


def test_every_operation_lists_its_answers_the_fault_among_them(document: dict[str, Any]) -> None:
    for name, one in operations(document):
        statuses = set(one["responses"])
        assert "500" in statuses, name
        assert statuses & {"200", "202"}, name
        assert all(response["description"] for response in one["responses"].values()), name


def test_an_operation_that_needs_a_token_says_so_and_lists_the_refusal(document: dict[str, Any]) -> None:
    guarded = {name for name, one in operations(document) if one.get("security")}
    assert guarded == {name for name, one in operations(document) if "invalid_token" in str(one["responses"].get("401", ""))}
    assert "get /v1/inbox" in guarded
    assert "post /v1/messages" not in guarded


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, one in item.items():
            described = {parameter["name"] for parameter in one.get("parameters", []) if parameter["in"] == "path"}
            assert described == set(re.findall(r"{(\w+)}", path)), f"{method} {path}"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    models = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) - models == set()


def test_every_example_of_a_model_fits_the_model(document: dict[str, Any]) -> None:
    models = document["components"]["schemas"]
    examples = [(name, example) for name, model in models.items() for example in model.get("examples", [])]
    assert len(examples) > 10
    for name, example in examples:
        schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": models}}
        assert jsonschema_rs.is_valid(schema, example), name


def test_the_models_themselves_are_valid_json_schemas(document: dict[str, Any]) -> None:
    for name, model in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(model), name


def test_the_page_shows_every_operation_and_loads_nothing_from_elsewhere(application: Flask, document: dict[str, Any]) -> None:
    answer = application.test_client().get("/docs")
    for name, one in operations(document):
        assert f'id="{one["operationId"]}"' in answer.text, name
    assert re.findall(r"<(?:script|link|img|iframe)", answer.text) == []
    assert re.findall(r"(?:src|href)=\"(?!#|openapi\.json)[^\"]*", answer.text) == []


def test_the_policy_of_the_page_allows_its_own_style_only(application: Flask) -> None:
    policy = application.test_client().get("/docs").headers["Content-Security-Policy"]
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; .*frame-ancestors 'none'", policy)


def test_the_schemes_of_authentication_are_described(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["dpop"]["scheme"] == "DPoP"
    used = {scheme for _, one in operations(document) for entry in one.get("security", []) for scheme in entry}
    assert used == {"dpop"}
