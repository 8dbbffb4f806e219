"""What is generated from the catalogue is committed, and is what the catalogue gives today."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner

from hub.cli.catalogue import catalogue as command
from hub.formats.generated_files import differences, generated_files
from tests.message_examples import TOP, catalogue

TYPES = sorted(name for name, _ in catalogue().types)


def test_the_committed_files_are_what_the_catalogue_gives() -> None:
    assert differences(catalogue(), TOP) == []


@pytest.mark.parametrize("type_", TYPES)
def test_another_validator_accepts_the_example(type_: str) -> None:
    example = json.loads((TOP / "schemas" / "examples" / f"{type_}.json").read_text("utf-8"))
    schemas = {part: read_schema(name) for part, name in (("header", "header"), ("body", type_))}
    for part, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert list(jsonschema.Draft202012Validator(schema).iter_errors(example[part])) == []


def test_another_validator_refuses_what_a_rule_forbids() -> None:
    example = json.loads((TOP / "schemas" / "examples" / "ht-referral.json").read_text("utf-8"))
    example["body"]["person"]["age_group"] = "minor"
    assert not jsonschema.Draft202012Validator(read_schema("ht-referral")).is_valid(example["body"])


@pytest.mark.parametrize("name", ["header", *TYPES])
def test_every_object_is_closed_and_every_string_and_array_is_bounded(name: str) -> None:
    def check(schema: Any) -> None:
        if isinstance(schema, list):
            for one in schema:
                check(one)
        if isinstance(schema, dict):
            assert schema.get("type") != "object" or schema["additionalProperties"] is False
            assert schema.get("type") != "string" or schema["maxLength"] > 0
            assert schema.get("type") != "array" or schema["maxItems"] > 0
            for one in schema.values():
                check(one)

    check(read_schema(name))


def test_check_tells_what_is_missing_out_of_date_and_left_over(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    for folder in ("codes", "groups", "catalogue"):
        (tmp_path / "schemas" / folder).symlink_to(TOP / "schemas" / folder)
    assert CliRunner().invoke(command, ["generate", "--top", str(tmp_path)]).exit_code == 0
    assert CliRunner().invoke(command, ["check", "--top", str(tmp_path)]).exit_code == 0
    (tmp_path / "schemas/json/header.json").unlink()
    (tmp_path / "schemas/json/old.json").write_text("{}")
    (tmp_path / "docs/messages/codes.md").write_text("stale")
    result = CliRunner().invoke(command, ["check", "--top", str(tmp_path)])
    assert result.exit_code == 1
    for line in ("schemas/json/header.json: missing", "schemas/json/old.json: left over", "docs/messages/codes.md: out of date"):
        assert line in result.output


def test_a_catalogue_with_a_fault_is_told_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    result = CliRunner().invoke(command, ["check", "--top", str(tmp_path)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: header.toml")


def test_generating_twice_gives_the_same_octets() -> None:
    assert generated_files(catalogue()) == generated_files(catalogue())


def read_schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((TOP / "schemas" / "json" / f"{name}.json").read_text("utf-8"))
    return schema
