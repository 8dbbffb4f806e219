"""Nothing of a message's content stands readable in the database, or in what the process writes out."""

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.domain.refusals import Refusal, RefusalCode
from hub.formats.bodies import BodyReader
from hub.services.close_deadlines import close_deadlines
from hub.services.preview_release import preview_release
from hub.services.pull_inbox import fetch_delivery
from hub.services.read_exchange import read_exchange
from hub.services.receive_message import ENVELOPE_MEDIA_TYPE
from hub.storage.tables import metadata
from tests.simulators.exchange import REFERRAL_ORDER, Exchange, attachment
from tests.simulators.stores import forbid_inserts

IMMIGRATION, POLICE, SHELTER = "tw.nia", "tw.npa", "tw.shelter.garden"
CANARY = "KANARIENVOGEL-7391"


def marked_message(exchange: Exchange, **header: Any) -> dict[str, Any]:
    """A referral with the canary in every text, of header and body, that is free enough to hold it."""
    sender = exchange.agencies[IMMIGRATION]
    texts = {
        "handling_text": CANARY,
        "declassify": CANARY,
        "attachments": [attachment(f"{CANARY}.txt", CANARY.encode(), "victim")],
    }
    message = sender.message(**{"recipients": [POLICE, SHELTER], **texts, **header})
    for path in list(_texts(message["body"])):
        marked = copy.deepcopy(message)
        _set(marked["body"], path, CANARY)
        if _is_valid(exchange.hub.bodies, marked):
            message = marked
    return message


def _texts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, held in items:
        if isinstance(held, str):
            yield (*path, name)
        yield from _texts(held, (*path, name))


def _set(value: Any, path: tuple[Any, ...], text: str) -> None:
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = text


def _is_valid(bodies: BodyReader, message: dict[str, Any]) -> bool:
    try:
        bodies.read_body(bodies.read_header(message["header"]), message["body"])
    except Refusal:
        return False
    return True


def forms_of(text: str) -> list[bytes]:
    """How a text may hide: plain, UTF-16, hexadecimal, and base64 in both alphabets at each of the three alignments."""
    octets = text.encode()
    forms = [octets, text.encode("utf-16-le"), octets.hex().encode(), octets.hex().upper().encode()]
    for shift in range(3):
        padded = base64.b64encode(b"\0" * shift + octets)
        middle = padded[4 if shift else 0 : -4]  # what does not depend on the octets around it
        forms += [middle, middle.translate(bytes.maketrans(b"+/", b"-_"))]
    return forms


def octets_at_rest(exchange: Exchange) -> bytes:
    """All that the database holds: the files of SQLite, and every value of every column of either database."""
    held = []
    if exchange.url.startswith("sqlite:///"):
        file = Path(exchange.url.removeprefix("sqlite:///"))
        held = [part.read_bytes() for part in file.parent.glob(f"{file.name}*")]
    with exchange.hub.store.reading() as work:
        for table in metadata.tables:
            for row in work.exec_driver_sql(f"SELECT * FROM {table}"):
                held += [bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for value in row]
    return b"\n".join(held)


def found(octets: bytes, text: str) -> list[bytes]:
    return [form for form in forms_of(text) if form in octets]


def live_through_everything(exchange: Exchange) -> None:
    """Accept, repeat, refuse, preview, hold, fetch, confirm, reject, read, suspend and let deadlines pass."""
    sender, police, shelter = (exchange.agencies[name] for name in (IMMIGRATION, POLICE, SHELTER))
    message = marked_message(exchange)
    issued = sender.send(message)
    sender.send(message)
    bad = marked_message(exchange, purpose="advertising")
    preview_release(exchange.hub, sender.caller, sender.envelope(bad), ENVELOPE_MEDIA_TYPE)
    bad_body = marked_message(exchange)
    bad_body["body"][CANARY] = CANARY
    for wrong in (bad, bad_body, {**message, "body": {**message["body"], "details": CANARY * 2}}):
        with pytest.raises(Refusal) as caught:
            sender.send(wrong)
        assert CANARY not in str(caught.value) + str(caught.value.findings)
    exchange.deliver()
    item, opened, _document = police.fetch()
    with pytest.raises(Refusal):
        police.acknowledge("delivered", item, opened.payload, note=CANARY)
    with pytest.raises(Refusal):
        police.acknowledge("rejected", item, opened.payload, reason=CANARY)
    police.acknowledge("delivered", item, opened.payload)
    item, opened, _document = shelter.fetch()
    shelter.acknowledge("rejected", item, opened.payload, reason="schema_violation")
    read_exchange(exchange.hub, sender.caller, issued.exchange)
    exchange.agreement_event(REFERRAL_ORDER, "suspended")
    with pytest.raises(Refusal):
        sender.send(sender.message(classification=CANARY))
    with pytest.raises(Refusal) as caught:
        fetch_delivery(exchange.hub, police.caller, police.inbox()[0].delivery.id)
    assert caught.value.code is RefusalCode.AGREEMENT_SUSPENDED
    exchange.clock.advance(days=31)
    close_deadlines(exchange.hub)


def test_the_canary_stands_in_many_places_of_the_message(referrals: Exchange) -> None:
    assert json.dumps(marked_message(referrals)).count(CANARY) > 30


def test_the_search_finds_the_canary_where_it_is_readable(referrals: Exchange) -> None:
    sender = referrals.agencies[IMMIGRATION]
    signed = sender.sign(json.dumps(marked_message(referrals)).encode())
    assert found(signed, CANARY)
    assert found(CANARY.encode("utf-16-le"), CANARY)
    assert all(found(base64.b64encode(b"x" * shift + CANARY.encode() + b"y"), CANARY) for shift in range(3))


def test_no_content_stands_readable_in_the_database(referrals: Exchange) -> None:
    live_through_everything(referrals)
    octets = octets_at_rest(referrals)
    assert found(octets, IMMIGRATION)
    assert found(octets, CANARY) == []


def test_no_content_is_written_out_by_the_process(
    referrals: Exchange, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    live_through_everything(referrals)
    out, err = capfd.readouterr()
    assert found((out + err + caplog.text).encode(), CANARY) == []


def test_a_fault_of_the_database_tells_nothing_of_the_content(referrals: Exchange) -> None:
    forbid_inserts(referrals, "receipts")
    sender = referrals.agencies[IMMIGRATION]
    with pytest.raises(Exception, match="no_more_rows") as caught:
        sender.send(marked_message(referrals))
    assert found(str(caught.value).encode(), CANARY) == []
