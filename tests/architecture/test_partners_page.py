"""docs/partners.md says what the code does: addresses, types, codes, limits and vectors are compared with their source."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from hub.crypto import tokens
from hub.domain.deliveries import RETRY_DELAYS
from hub.domain.encoding import b64url_decode
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import RefusalCode
from hub.domain.signatures import SignatureType
from hub.formats import bodies, jwe, jws
from hub.http_api.app import create_app
from hub.http_api.problems import RETRY_AFTER_SECONDS
from hub.http_api.requests import MAX_JWS_BYTES
from hub.services.hub import Limits
from hub.services.issue_token import TokenError
from hub.settings import WorkerSettings
from hub.worker import push_client
from tests.interop.partner_page import PAGE, blocks
from tests.simulators.exchange import Exchange
from tests.vectors.files import read_json

TEXT = PAGE.read_text(encoding="utf-8")
MIB = 1024 * 1024
BESIDE = {"/openapi.json", "/docs", "/livez", "/readyz", "/metrics"}  # named elsewhere on the page, or for operators


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Flask]:
    exchange = Exchange(f"sqlite:///{tmp_path}/hub.sqlite")
    yield create_app(exchange.hub)
    exchange.close()


def section(number: int) -> str:
    """The text of one numbered section."""
    return re.split(r"^## \d+ .*$", TEXT, flags=re.MULTILINE)[number]


def test_every_link_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", TEXT)
    assert [one for one in targets if not (PAGE.parent / one).is_file()] == []


def test_every_heading_is_in_the_contents() -> None:
    headings = re.findall(r"^## (\d+ .*)$", TEXT, re.MULTILINE)
    anchors = {heading: heading.lower().replace(",", "").replace(" ", "-") for heading in headings}
    assert [one for one, anchor in anchors.items() if f"[{one}](#{anchor})" not in " ".join(TEXT.split())] == []


def test_its_table_of_addresses_is_that_of_the_machine_interface(application: Flask) -> None:
    named = {
        re.sub(r"\{(\w+)\}", "<>", address.partition("?")[0])
        for address in re.findall(r"(/(?:v1|\.well-known)/[^`\s,]*)", section(7))
    }
    rules = {re.sub(r"<[^>]+>", "<>", rule.rule) for rule in application.url_map.iter_rules()}
    served = {rule for rule in rules if rule.startswith(("/v1/", "/.well-known/"))} - BESIDE
    assert {one.replace("/...", "/<>") for one in named} == served


def test_it_names_every_type_of_signature() -> None:
    assert set(re.findall(r"`(hub-[a-z]+\+jws)`", section(4))) == {kind.value for kind in SignatureType}


def test_it_describes_every_receipt() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", section(9), re.MULTILINE)) - {"event"} == {event.value for event in ReceiptEvent}


def test_it_names_every_error_of_the_token_endpoint() -> None:
    assert [error for error in TokenError if f"`{error}`" not in section(8) and f'"{error}"' not in section(8)] == []


def test_its_programs_refuse_with_codes_that_the_hub_knows() -> None:
    used = {code for text in blocks("file").values() for code in re.findall(r"check\(.*'([a-z_]+)'\)", text)}
    used |= {code for text in blocks("file").values() for code in re.findall(r"new Refused\('([a-z_]+)'\)", text)}
    assert used <= {code.value for code in RefusalCode}
    assert len(used) > 10


@pytest.mark.parametrize(
    ("statement", "value"),
    [
        ("| envelope | 10 MiB", Limits().max_envelope_bytes == 10 * MIB),
        ("decoded, together | 1 MiB", bodies.MAX_INLINE_BYTES == MIB),
        ("| sealed part | 1 MiB |", jwe.MAX_PART_BYTES == MIB),
        ("posted | 16 KiB |", MAX_JWS_BYTES == 16 * 1024),
        (
            "of a JWS 1,024 characters, of a JWE 16,384",
            (jws._MAX_PROTECTED_CHARACTERS, jwe.MAX_PROTECTED_CHARACTERS) == (1024, 16384),
        ),
        ("proof | 8,192 characters each", tokens.MAX_TOKEN_CHARACTERS == 8192),
        ("hub's clock | 5 minutes |", Limits().max_issued_ahead.total_seconds() == 300),
        ("| 100 items, 30 seconds |", (Limits().max_inbox_page, Limits().max_inbox_wait_seconds) == (100, 30)),
        ('"expires_in":300', Limits().token_lifetime.total_seconds() == 300),
        ("at most 10 minutes away", tokens.MAX_ASSERTION_LIFETIME.total_seconds() == 600),
        ("Clocks may differ by 30 seconds", tokens.LEEWAY.total_seconds() == 30),
        ("A proof is good for 5 minutes", tokens.PROOF_LIFETIME.total_seconds() == 300),
        ("A nonce lives 5 to 10 minutes", tokens.NONCE_WINDOW.total_seconds() == 300),
        ("Answer within 20 seconds", WorkerSettings().push_timeout.total_seconds() == 20),
        ("(at most 64 KiB)", push_client.MAX_ANSWER_BYTES == 64 * 1024),
        ("10 seconds, 1, 5 and 15 minutes, 1 hour", [one.total_seconds() for one in RETRY_DELAYS] == [10, 60, 300, 900, 3600]),
        ("Wait 5 seconds before the first retry", RETRY_AFTER_SECONDS == 5),
    ],
)
def test_its_numbers_are_those_of_the_code(statement: str, value: bool) -> None:
    assert statement in " ".join(TEXT.split())
    assert value


def test_its_key_schedule_is_the_vector() -> None:
    vector = read_json("wire/pq-1-keyschedule.json")
    stated = dict(line.split() for line in blocks("vector")["pq-1-keyschedule.json"].splitlines())
    assert stated == {name: vector[name] for name in ("shared_secret", "key", "base_nonce")}


def test_its_worked_example_is_the_vector() -> None:
    vector = read_json("wire/classic-1.json")
    first, second = (b64url_decode(one["protected"]).decode() for one in vector["jws"]["signatures"])
    assert first in TEXT
    assert json.loads(second)["over"] in TEXT
    assert blocks("vector")["classic-1.json"].strip() == b64url_decode(vector["jwe"]["protected"]).decode()


def test_every_command_on_it_is_run_by_the_interop_programs() -> None:
    interop = PAGE.parents[1] / "tests" / "interop"
    code = "".join((interop / name).read_text(encoding="utf-8") for name in ("partner_page.py", "test_partner_programs.py"))
    assert [name for name in blocks("run") if f'"{name}"' not in code] == []
    assert TEXT.count("```sh") == len(blocks("run"))


def test_every_program_on_it_is_one_that_the_interop_programs_run() -> None:
    assert TEXT.count("```js ") == sum(name.endswith(".mjs") for name in blocks("file"))
