"""Two police systems that were built from docs/partners.md alone, on unmodified libraries for Node, exchange through a real hub.

jp.npa has stock `jose` and the profile classic-1, tw.npa `hpke` and the profile pq-1; both get their tokens with `openid-client`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.domain.encoding import b64url_decode
from tests.interop.partner_page import PagePartner, blocks, run_node
from tests.servers import running_hub

SEQUENCED_SECONDS = 20
REFUSALS = {
    "altered ciphertext": "cannot_unseal",
    "altered protected header": "cannot_unseal",
    "sealed to two": "cannot_unseal",
    "sealed under the other profile": "wrong_profile",
    "another id in the seal": "sender_mismatch",
    "altered payload": "bad_signature",
    "signed with the client key": "key_not_valid",
    "signed with a key nobody knows": "unknown_sender",
    "signed as another": "sender_mismatch",
    "signed as a receipt": "malformed_envelope",
    "alg none": "unsupported_profile",
    "a member twice": "malformed_envelope",
    "a float": "malformed_envelope",
    "past its expiry": "expired",
    "from the future": "issued_in_future",
    "an unknown field": "schema_violation",
    "a purpose outside the agreement": "purpose_not_allowed",
}


@dataclass
class World:
    """The two partners, by authority, and what each has taken so far, by exchange."""

    partners: dict[str, PagePartner]
    taken: dict[str, dict[str, Any]]

    def pair(self, sender: str) -> tuple[PagePartner, PagePartner]:
        (other,) = self.partners.keys() - {sender}
        return self.partners[sender], self.partners[other]

    def take(self, partner: PagePartner, exchange: str) -> dict[str, Any]:
        """Fetch until the copy of this exchange is there."""
        while exchange not in self.taken:
            rows = partner.fetch()
            assert rows, "nothing arrived"
            self.taken.update((row["exchange"], row) for row in rows)
        return self.taken[exchange]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("stock")
    with running_hub(folder / "hub") as hub:
        partners = {
            "jp.npa": PagePartner(hub, "jp.npa", "classic-1", folder / "jp.npa"),
            "tw.npa": PagePartner(hub, "tw.npa", "pq-1", folder / "tw.npa"),
        }
        for partner in partners.values():
            partner.join()
        yield World(partners, {})


@pytest.fixture(scope="module", params=["jp.npa", "tw.npa"], ids=["classic-1", "pq-1"])
def sent(request: pytest.FixtureRequest, world: World) -> tuple[World, str, dict[str, Any]]:
    """A message that each of the two sent: who sent it, and what its program printed."""
    sender, recipient = world.pair(request.param)
    return world, sender.authority, sender.send(sender.write_draft(recipient.authority))


def envelope_of(folder: Path, exchange_id: str) -> Any:
    files = (json.loads(file.read_bytes()) for file in folder.glob("*.sent"))
    return json.loads(next(one["envelope"] for one in files if one["id"] == exchange_id))


def test_a_message_is_accepted_in_the_profile_of_its_sender(sent: tuple[World, str, dict[str, Any]]) -> None:
    world, sender, row = sent
    partner = world.partners[sender]
    binding = json.loads(b64url_decode(envelope_of(partner.folder, row["id"])["protected"]))["hub"]
    assert binding["profile"] == partner.profile
    assert row["repeated"] is False


def test_a_repeat_gets_the_first_receipt_again(sent: tuple[World, str, dict[str, Any]]) -> None:
    world, sender, row = sent
    draft = next(
        file.name.removesuffix(".sent") for file in world.partners[sender].folder.glob("*.sent") if row["id"] in file.read_text()
    )
    again = world.partners[sender].send(draft)
    assert again == {**row, "repeated": True}


def test_the_recipient_opens_it_verifies_each_signature_and_confirms(sent: tuple[World, str, dict[str, Any]]) -> None:
    world, sender, row = sent
    taken = world.take(world.pair(sender)[1], row["exchange"])
    assert (taken["outcome"], taken["id"], taken["digest"]) == ("original", row["id"], row["digest"])


def test_the_sender_proves_every_receipt_from_the_log(sent: tuple[World, str, dict[str, Any]]) -> None:
    world, sender, row = sent
    recipient = world.pair(sender)[1]
    world.take(recipient, row["exchange"])
    until = time.monotonic() + SEQUENCED_SECONDS
    done = world.partners[sender].run("prove", EXCHANGE=row["exchange"])
    while done.status and "not_found" in done.complaint and time.monotonic() < until:  # not in a checkpoint yet
        done = world.partners[sender].run("prove", EXCHANGE=row["exchange"])
    assert done.status == 0, done.complaint
    events = {(one["event"], one["issuer"]) for one in done.rows}
    assert events == {("accepted", "hub"), ("relayed", "hub"), ("delivered", recipient.authority), ("delivered", "hub")}
    assert all(one["index"] < one["size"] for one in done.rows)


def test_a_shortened_copy_opens_and_says_what_was_removed_under_which_article(world: World) -> None:
    sender, recipient = world.pair("tw.npa")
    row = sender.send(sender.write_draft(recipient.authority, subjects=2))
    taken = world.take(recipient, row["exchange"])
    assert taken["outcome"] == "rendition"
    assert taken["digest"] != row["digest"]
    assert {"path": "/subjects/1/account/number", "article": "4(1)"} in taken["removed"]


def test_an_inbox_that_was_settled_has_nothing_more(world: World) -> None:
    sender, recipient = world.pair("jp.npa")
    world.take(recipient, sender.send(sender.write_draft(recipient.authority))["exchange"])
    quick = blocks("run")["fetch"].split()[-1]
    assert recipient.run("fetch", **{quick: "0"}).rows == []


@pytest.mark.parametrize("sender", ["jp.npa", "tw.npa"], ids=["classic-1", "pq-1"])
@pytest.mark.parametrize(("case", "code"), REFUSALS.items(), ids=REFUSALS)
def test_a_wrong_message_is_refused_with_a_signed_problem_that_the_sender_verifies(
    world: World, sender: str, case: str, code: str
) -> None:
    partner, recipient = world.pair(sender)
    done = run_node(partner.folder, "misbehave.mjs", case, partner.write_draft(recipient.authority))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["code"] == code


def test_the_refusal_names_the_article(world: World) -> None:
    sender, recipient = world.pair("jp.npa")
    done = run_node(sender.folder, "misbehave.mjs", "a purpose outside the agreement", sender.write_draft(recipient.authority))
    (finding,) = json.loads(done.stdout)["findings"]
    assert (finding["code"], finding["article"]) == ("purpose_not_allowed", "2")


def test_an_id_that_was_used_for_other_content_is_refused(world: World) -> None:
    sender, recipient = world.pair("jp.npa")
    draft = sender.write_draft(recipient.authority)
    row = sender.send(draft)
    other = sender.write_draft(recipient.authority, {"id": row["id"], "crime_area": "drugs"})
    done = sender.run("send", **{"request.json": other})
    assert done.status != 0
    assert "Refused [Error]: message_id_reused" in done.complaint


def test_another_stock_client_gets_a_token_and_reads_with_it(world: World) -> None:
    done = run_node(world.partners["jp.npa"].folder, "stock_token.mjs")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["first_error"], answer["token_type"], answer["status"]) == ("use_dpop_nonce", "dpop", 200)
    assert answer["items"] >= 0
