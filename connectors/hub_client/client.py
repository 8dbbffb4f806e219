"""The client as a library: an enrolled agency that sends, collects, confirms and proves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx2

from connectors.contract import Collected, Draft, Incoming, Prepared, RefusedByHub, Take, VerifiedReceipt
from connectors.hub_client.agency_files import file_name, read_json, write_json
from connectors.hub_client.desk import Desk, Place, check_address, open_desk
from connectors.hub_client.hub_session import Client, HubSession
from connectors.hub_client.incoming import InboxItem, OpenedCopy, open_copy, take_in
from connectors.hub_client.outgoing import PreparedMessages, Sender, prepare
from connectors.hub_client.receipts import Statement, require_about, verify_receipt, write_receipt
from connectors.hub_client.stored_files import message_file, receipt_file
from connectors.hub_client.trust import HubKeyNotPinnedError
from hub.domain.parties import HUB_PARTY
from hub.domain.receipts import ReceiptEvent
from hub.domain.refusals import Refusal, RefusalCode

PAGE = 50
"""Inbox items asked for at once."""


class HubClient:
    """An agency's way to the hub; what `HubChannel` promises. Not for several threads at once."""

    def __init__(self, desk: Desk, session: HubSession) -> None:
        self.desk = desk
        self.session = session
        self._verifier = desk.verifier(session.keys_of)
        self.partners = self._verifier.partners
        self._prepared = PreparedMessages(desk.agency.state / "outgoing")
        self._inbox = _InboxState(desk.agency.state)
        self._ask_for_withheld = True

    # --- out ---

    def prepare(self, draft: Draft, *, again: bool = False) -> Prepared:
        """Complete, check, sign, seal and write down a draft. The same draft gives what was written down first, unless `again`.

        Raises:
            Refusal: as `outgoing.prepare`.
        """
        known = None if again else self._prepared.find(draft.digest())
        if known is not None:
            return known
        made = self._make(draft)
        self._prepared.save(made)
        return made

    def send(self, prepared: Prepared) -> Prepared:
        """Send a prepared message. It is accepted once the hub's receipt names this very message, and is kept.

        Raises:
            RefusedByHub: the hub refused and signed it; the same message may be sent again.
            Refusal: the receipt or the problem document does not verify, so nothing is known.
            HubUnreachableError: nothing is known; send the same again.
        """
        answer = self.session.post_message(prepared.envelope)
        exchange = str(answer.get("exchange", ""))
        receipt = require_about(
            verify_receipt(answer.get("receipt"), self.desk.pins, self.partners),
            event=ReceiptEvent.ACCEPTED,
            issuer=HUB_PARTY,
            exchange=exchange,
            sender=prepared.sender,
            message_id=prepared.id,
            message_digest=prepared.digest,
        )
        self.keep_receipt(receipt)
        return self._prepared.accepted(prepared, exchange, receipt.jws)

    def preview(self, draft: Draft) -> dict[str, Any]:
        """Ask the hub who would receive what; nothing is stored on either side. The answer is the hub's word, not evidence."""
        return self.session.preview(self._make(draft).envelope)

    def sent_as(self, exchange: str) -> Prepared | None:
        """The message that this agency sent as an exchange."""
        return self._prepared.of_exchange(exchange)

    def _make(self, draft: Draft) -> Prepared:
        desk, now = self.desk, self.desk.now()
        sender = Sender(
            desk.agency.authority,
            desk.keyring.signing_key(now),
            desk.agency.profile,
            desk.pins.sealing_key(desk.agency.profile, now),
        )
        return prepare(draft, sender, desk.bodies, lambda owner, role: self.partners.role_key(owner, role, now), now)

    # --- in ---

    def collect(self, take: Take, *, wait_seconds: int = 0) -> list[Collected]:
        """Fetch, open and verify what is new; hand each message to `take`; confirm it, or reject it with the reason.

        The cursor moves past an item once it is settled. What the hub withholds (its agreement is suspended, say) is asked for
        again by each new client.

        Raises:
            HubUnreachableError: the rest is for the next time.
            HubKeyNotPinnedError: the hub signs with a key that nobody pinned; nothing is rejected for that.
        """
        self.partners.forget_answers()
        withheld, self._ask_for_withheld = self._inbox.withheld() if self._ask_for_withheld else [], False
        done = [self._settle(item, take) for item in withheld]
        while True:
            after = self._inbox.cursor
            page = self.session.list_inbox(after, PAGE, 0 if done else wait_seconds)
            items = _read_page(page, after)
            for item in items:
                done.append(self._settle(item, take))
                self._inbox.move_to(item.position)
            if len(items) < PAGE:
                return done

    def keep(self, incoming: Incoming) -> None:
        """Store a message in the agency's own inbox folder."""
        write_json(self.desk.agency.inbox / f"{incoming.delivery}.json", message_file(incoming))

    def confirm_retrieved(self, delivery: str) -> VerifiedReceipt:
        """Tell the sender, signed, that a person here has opened the message.

        Raises:
            Refusal: NOT_FOUND, this agency has not taken that delivery.
        """
        known = read_json(self._inbox.taken_path(file_name(delivery)))
        if not known:
            raise Refusal(RefusalCode.NOT_FOUND, "this agency has not taken that delivery")
        return self._confirm(Statement(ReceiptEvent.RETRIEVED, **known))

    def _settle(self, item: InboxItem, take: Take) -> Collected:
        done = Collected(item.delivery, item.sender, item.type)
        try:
            octets = self.session.fetch(item.delivery)
        except RefusedByHub as refusal:
            self._inbox.withhold(item, is_there=refusal.code is not RefusalCode.NOT_FOUND)
            return replace(done, refusal=refusal)
        self.partners.refresh(item.sender)
        opened: OpenedCopy | None = None
        try:
            opened = open_copy(octets, self.desk.recipient, self.desk.now())
            incoming = take_in(item, opened, self.desk.recipient, self._verifier)
            self._inbox.require_one_exchange(incoming)
        except HubKeyNotPinnedError:
            raise
        except Refusal as refusal:
            self._reject(item, opened, refusal.code)
            self._inbox.withhold(item, is_there=False)
            return replace(done, refusal=refusal)
        take(incoming)
        statement = _delivered(incoming)
        self._inbox.remember(statement)
        self._confirm(statement)
        self._inbox.withhold(item, is_there=False)
        return replace(done, incoming=incoming)

    def _reject(self, item: InboxItem, opened: OpenedCopy | None, reason: RefusalCode) -> None:
        """Say that it could not be taken, and why; where the seal did not open, the digest stays empty."""
        message_id, digest = (opened.message_id, opened.digest) if opened else ("", "")
        statement = Statement(
            ReceiptEvent.REJECTED, item.exchange, item.delivery, item.sender, message_id, digest, reason=reason.value
        )
        try:
            self.session.post_receipt(item.delivery, self._sign(statement))
        except RefusedByHub:
            return  # the hub has its own copy of the truth; the finding here stays

    def _confirm(self, statement: Statement) -> VerifiedReceipt:
        """Post one's own receipt (the same octets at each repeat) and verify that the hub's says the same."""
        answer = self.session.post_receipt(statement.delivery, self._sign(statement))
        receipt = require_about(
            verify_receipt(answer.get("receipt"), self.desk.pins, self.partners),
            event=statement.event,
            issuer=HUB_PARTY,
            exchange=statement.exchange,
            recipient=self.desk.agency.authority,
            sender=statement.sender,
            message_id=statement.message_id,
            message_digest=statement.of or statement.digest,
        )
        self.keep_receipt(receipt)
        return receipt

    def _sign(self, statement: Statement) -> str:
        path = self.desk.agency.state / "statements" / f"{statement.delivery}.{statement.event.value}.json"
        written = read_json(path)
        if written.get("digest") != statement.digest:
            now = self.desk.now()
            text = write_receipt(statement, self.desk.agency.authority, self.desk.keyring.signing_key(now), now)
            written = {"digest": statement.digest, "jws": text}
            write_json(path, written)
        return str(written["jws"])

    # --- evidence ---

    def keep_receipt(self, receipt: VerifiedReceipt, proof: Mapping[str, Any] | None = None) -> Path:
        """Store a verified receipt; one with its log proof takes the place of the one without."""
        name = ".".join(one for one in (receipt.event.value, receipt.recipient, receipt.issuer) if one)
        path = self._receipts_of(receipt.exchange) / f"{file_name(name)}.json"
        if proof or not path.exists():
            write_json(path, receipt_file(receipt, proof))
        return path

    def kept_receipts(self, exchange: str) -> set[str]:
        """The receipts of an exchange that were seen so far, each a compact JWS."""
        return {str(read_json(path).get("jws")) for path in self._receipts_of(exchange).glob("*.json")}

    def _receipts_of(self, exchange: str) -> Path:
        return self.desk.agency.state / "receipts" / file_name(exchange)


def open_client(place: Place, http: httpx2.Client) -> HubClient:
    """Open an enrolled agency's folder for work with the hub.

    Raises:
        Refusal: as `open_desk`; ADDRESS_NOT_ALLOWED.
    """
    desk = open_desk(place)
    client = Client(desk.agency.authority, desk.keyring.client_key(place.now()), check_address(desk.agency.hub))
    return HubClient(desk, HubSession(http, client, desk.pins, place.now))


def _delivered(incoming: Incoming) -> Statement:
    return Statement(
        event=ReceiptEvent.DELIVERED,
        exchange=incoming.exchange,
        delivery=incoming.delivery,
        sender=str(incoming.header["sender"]),
        message_id=str(incoming.header["id"]),
        digest=incoming.digest,
        of=incoming.rendition.of if incoming.rendition else "",
    )


def _read_page(page: Mapping[str, Any], after: int) -> list[InboxItem]:
    """Read a page of the inbox: positions ascend from the cursor, ids are plain names.

    Raises:
        Refusal: INVALID_REQUEST, the page has another form.
    """
    rows = page.get("items")
    if not isinstance(rows, list) or len(rows) > PAGE:
        raise Refusal(RefusalCode.INVALID_REQUEST, "the inbox page is not of the documented form")
    items = [_read_item(row) for row in rows]
    positions = [after, *(item.position for item in items)]
    if any(later <= earlier for earlier, later in pairwise(positions)):
        raise Refusal(RefusalCode.INVALID_REQUEST, "the inbox does not ascend from the cursor")
    return items


def _read_item(row: object) -> InboxItem:
    names = ("delivery", "position", "sender", "type", "exchange")
    values: list[Any] = [row.get(name) for name in names] if isinstance(row, dict) else []
    if [type(value) for value in values] != [str, int, str, str, str]:
        raise Refusal(RefusalCode.INVALID_REQUEST, "an inbox item is not of the documented form")
    item = InboxItem(**dict(zip(names, values, strict=True)))
    file_name(item.delivery)
    file_name(item.exchange)
    return item


class _InboxState:
    """What the client remembers of its inbox: the cursor, what was withheld, what was taken, and each message's one exchange."""

    def __init__(self, state: Path) -> None:
        self._state = state

    @property
    def cursor(self) -> int:
        """The position of the last settled item; 0 at first."""
        return int(read_json(self._state / "cursor.json").get("position", 0))

    def move_to(self, position: int) -> None:
        """Move the cursor forward."""
        write_json(self._state / "cursor.json", {"position": position})

    def withhold(self, item: InboxItem, *, is_there: bool) -> None:
        """Remember an item that the hub did not hand out; where it `is_there` no longer, forget it."""
        path = self._state / "withheld" / f"{item.delivery}.json"
        if is_there:
            write_json(path, vars(item))
        else:
            path.unlink(missing_ok=True)

    def withheld(self) -> list[InboxItem]:
        """The items that were withheld, by position."""
        items = [_read_item(read_json(path)) for path in (self._state / "withheld").glob("*.json")]
        return sorted(items, key=lambda item: item.position)

    def require_one_exchange(self, incoming: Incoming) -> None:
        """Check that a message did not come in another exchange before, and no other under this delivery.

        Raises:
            Refusal: MESSAGE_ID_REUSED.
        """
        taken = read_json(self.taken_path(incoming.delivery))
        if taken.get("exchange", incoming.exchange) != incoming.exchange:
            raise Refusal(RefusalCode.MESSAGE_ID_REUSED, "another message came under this delivery id before")
        known = read_json(self._exchange_path(str(incoming.header["sender"]), str(incoming.header["id"])))
        if known.get("exchange", incoming.exchange) != incoming.exchange:
            raise Refusal(RefusalCode.MESSAGE_ID_REUSED, "this message came in another exchange before")

    def remember(self, statement: Statement) -> None:
        """Remember a message that was taken: enough to state more about it later."""
        members = {name: value for name, value in vars(statement).items() if name != "event"}
        write_json(self.taken_path(statement.delivery), members)
        write_json(self._exchange_path(statement.sender, statement.message_id), {"exchange": statement.exchange})

    def taken_path(self, delivery: str) -> Path:
        """Where a taken delivery is remembered."""
        return self._state / "taken" / f"{delivery}.json"

    def _exchange_path(self, sender: str, message_id: str) -> Path:
        return self._state / "seen" / file_name(sender) / f"{file_name(message_id)}.json"
