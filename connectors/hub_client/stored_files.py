"""What the client leaves on disk for people and programs: messages and receipts, each with what it takes to verify it offline."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.contract import Incoming, VerifiedReceipt
from connectors.hub_client.incoming import Verifier, verify_signed
from connectors.hub_client.log_proofs import ProvedEntry, prove_receipt
from connectors.hub_client.receipts import verify_receipt
from connectors.hub_client.trust import HubPins, PartnerKeys
from hub.domain.encoding import b64url_encode
from hub.domain.keys import Custody
from hub.domain.refusals import Refusal, RefusalCode
from hub.formats import jws
from hub.formats.json_gate import parse_object

MESSAGE_KIND = "accord-message"
RECEIPT_KIND = "accord-receipt"
PROOF_MEMBERS = ("entry", "nonce", "proof")
"""Of a log proof: the entry (canonical JSON text), its nonce (base64url) and the tlog-proof."""


@dataclass(frozen=True)
class VerifiedFile:
    """What a stored file proved to be. `statements` are sentences for a person; ids, codes and digests only."""

    kind: str
    statements: tuple[str, ...]


def message_file(incoming: Incoming) -> dict[str, Any]:
    """A message as it is stored: readable, and with the signed octets that prove it."""
    message: dict[str, Any] = {"header": dict(incoming.header), "body": dict(incoming.body)}
    if incoming.rendition is not None:
        removed = [{"path": one.path, "article": one.article} for one in incoming.rendition.removed]
        message["rendition"] = {"of": incoming.rendition.of, "minimised": removed}
    return {
        "kind": MESSAGE_KIND,
        "v": 1,
        "exchange": incoming.exchange,
        "delivery": incoming.delivery,
        "digest": incoming.digest,
        "message": message,
        "signed": incoming.signed.decode("utf-8"),
    }


def receipt_file(receipt: VerifiedReceipt, proof: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A receipt as it is stored, with its log proof (`entry`, `nonce`, `proof`) where there is one."""
    stored: dict[str, Any] = {"kind": RECEIPT_KIND, "v": 1, "receipt": dict(receipt.members), "jws": receipt.jws}
    return stored | ({"log": dict(proof)} if proof else {})


def verify_file(octets: bytes, verifier: Verifier) -> VerifiedFile:
    """Verify a stored file with pinned keys alone.

    Raises:
        Refusal: INVALID_REQUEST, not a file of this client; RECEIPT_MISMATCH, what it shows is not what was signed; and what the
            verification of messages, receipts and log proofs raises.
    """
    stored = parse_object(octets)
    if stored.get("kind") == MESSAGE_KIND:
        return _verify_message(stored, verifier)
    if stored.get("kind") == RECEIPT_KIND:
        return _verify_receipt(stored, verifier.pins, verifier.partners)
    raise Refusal(RefusalCode.INVALID_REQUEST, "neither a message nor a receipt that this client stored")


def _verify_message(stored: Mapping[str, Any], verifier: Verifier) -> VerifiedFile:
    signed = jws.parse_general(str(stored.get("signed", "")).encode(), jws.COUNTERSIGNED_MESSAGE, jws.RENDITION_ALONE)
    verified = verify_signed(signed, verifier)
    digest = b64url_encode(hashlib.sha256(signed.payload).digest())
    if stored.get("message") != verified.document or stored.get("digest") != digest:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the readable message is not the one that was signed")
    header, hub = verified.header, verifier.pins.name
    lines = [f"message {header.id} of type {header.type} from {header.sender}"]
    if verified.rendition is None:
        kept = " (with a key that the hub keeps for it)" if verified.custody is Custody.HUB else ""
        lines.append(f"signed by {header.sender}{kept}, countersigned by the hub {hub}")
    else:
        lines.append(f"a rendition signed by the hub {hub} of the original {verified.rendition.of}")
        lines += [f"removed: {one.path} under {one.article}" for one in verified.rendition.removed]
    return VerifiedFile(MESSAGE_KIND, (*lines, f"digest {digest}"))


def _verify_receipt(stored: Mapping[str, Any], pins: HubPins, partners: PartnerKeys) -> VerifiedFile:
    receipt = verify_receipt(stored.get("jws"), pins, partners)
    if stored.get("receipt") != receipt.members:
        raise Refusal(RefusalCode.RECEIPT_MISMATCH, "the readable receipt is not the one that was signed")
    lines = [f"{receipt.event.value}: message {receipt.message_id} of {receipt.sender}, exchange {receipt.exchange}"]
    lines.append(f"signed by {receipt.issuer} at {receipt.time}")
    if "log" in stored:
        proved = read_proof(receipt, stored["log"], pins)
        lines.append(f"stands in the log at index {proved.index} under the checkpoint of size {proved.checkpoint.size}")
    return VerifiedFile(RECEIPT_KIND, tuple(lines))


def read_proof(receipt: VerifiedReceipt, proof: object, pins: HubPins) -> ProvedEntry:
    """Verify the log proof that goes with a receipt: `PROOF_MEMBERS`.

    Raises:
        Refusal: BAD_PROOF, RECEIPT_MISMATCH.
    """
    texts = [proof.get(name) for name in PROOF_MEMBERS] if isinstance(proof, dict) else [None]
    if not all(isinstance(one, str) for one in texts):
        raise Refusal(RefusalCode.BAD_PROOF, "a log proof has entry, nonce and proof")
    entry, nonce, text = (str(one) for one in texts)
    return prove_receipt(receipt, entry, nonce, text, pins)
