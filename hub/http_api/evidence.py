"""Evidence of one exchange, and the log that everybody may check."""

from __future__ import annotations

import base64

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from hub.domain.encoding import b64url_encode
from hub.domain.refusals import RefusalCode
from hub.http_api.messages import ExchangePath
from hub.http_api.openapi import Content, Section
from hub.http_api.requests import answer, current_caller, current_hub
from hub.services.read_evidence import read_evidence
from hub.services.read_log import latest_checkpoint, prove_consistency, prove_inclusion, read_tile

section = Section("Evidence", "Receipts with their proofs, and the public log: a Merkle tree in the form of C2SP tlog-tiles.")

_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


class ProvedReceipt(BaseModel):
    """A receipt, and the log entry that tells of it. SHA-256(nonce || entry) is the value of the leaf at `index`."""

    event: str
    issuer: str
    recipient: str
    receipt: str = Field(description="The compact JWS of type hub-receipt+jws.")
    entry: str | None = Field(default=None, description="The audit entry: canonical JSON, as text. Absent until it is sequenced.")
    nonce: str | None = Field(default=None, description="base64url, 32 octets.")
    index: int | None = None
    proof: str | None = Field(default=None, description="A tlog-proof (C2SP): the inclusion proof and the checkpoint it ends in.")


class EvidenceOfExchange(BaseModel):
    """Every receipt that you may see of the exchange, with its proof."""

    exchange: str
    receipts: list[ProvedReceipt]


class Hashes(BaseModel):
    """The hashes of a proof, each standard base64 of 32 octets."""

    hashes: list[str]


class TilePath(BaseModel):
    """Names one tile."""

    tile: str = Field(
        max_length=64, description="Level and number, or `entries` and number.", examples=["0/x001/067", "1/000.p/7"]
    )


class InclusionQuery(BaseModel):
    """Which leaf, in the log of which size."""

    model_config = ConfigDict(extra="forbid")

    index: int = Field(ge=0, lt=2**53)
    size: int = Field(ge=1, lt=2**53)


class ConsistencyQuery(BaseModel):
    """From which size of the log to which."""

    model_config = ConfigDict(extra="forbid")

    from_: int = Field(alias="from", ge=1, lt=2**53)
    to: int = Field(ge=1, lt=2**53)


@section.get(
    "/v1/messages/<exchange>/evidence",
    {200: Content("The receipts with their proofs.", model=EvidenceOfExchange)},
    refuses=(RefusalCode.NOT_FOUND,),
    token=True,
)
def show_evidence(path: ExchangePath) -> Response:
    """Collect the evidence of an exchange.

    Each receipt comes with the log entry that tells of it and with the proof that the log holds that entry. A receipt younger
    than a second may still lack its proof.
    """
    evidence = read_evidence(current_hub(), current_caller(), path.exchange)
    receipts = [
        ProvedReceipt(
            event=signed.receipt.event.value,
            issuer=signed.receipt.issuer,
            recipient=signed.receipt.recipient,
            receipt=signed.jws,
            entry=proof.entry.decode() if proof else None,
            nonce=b64url_encode(proof.nonce) if proof else None,
            index=proof.index if proof else None,
            proof=proof.proof if proof else None,
        )
        for signed, proof in evidence.receipts
    ]
    return answer(EvidenceOfExchange(exchange=evidence.view.exchange, receipts=receipts))


@section.get(
    "/v1/log/checkpoint",
    {200: Content("A signed note: origin, size and root hash of the log.", "text/plain")},
    refuses=(RefusalCode.NOT_FOUND,),
)
def show_checkpoint() -> Response:
    """Read the log's newest checkpoint.

    Pin the log's verifier key out of band, keep each checkpoint that you see, and ask for a consistency proof from the last one.
    """
    return Response(latest_checkpoint(current_hub()), mimetype="text/plain")


@section.get(
    "/v1/log/tile/<path:tile>",
    {200: Content("Hashes of 32 octets, one after the other; for entries, the commitments.", "application/octet-stream")},
    refuses=(RefusalCode.NOT_FOUND,),
)
def show_tile(path: TilePath) -> Response:
    """Read one tile of the log.

    A tile never changes. It holds commitments only: an entry itself is disclosed to those whom it is about.
    """
    return Response(read_tile(current_hub(), f"tile/{path.tile}"), 200, _IMMUTABLE, mimetype="application/octet-stream")


@section.get(
    "/v1/log/proof/inclusion",
    {200: Content("From the leaf to the root.", model=Hashes)},
    refuses=(RefusalCode.INVALID_REQUEST, RefusalCode.NOT_FOUND),
)
def show_inclusion(query: InclusionQuery) -> Response:
    """Prove that a leaf is in the log (RFC 9162 section 2.1.3)."""
    return answer(_hashes(prove_inclusion(current_hub(), query.index, query.size)))


@section.get(
    "/v1/log/proof/consistency",
    {200: Content("From the older root to the newer.", model=Hashes)},
    refuses=(RefusalCode.INVALID_REQUEST, RefusalCode.NOT_FOUND),
)
def show_consistency(query: ConsistencyQuery) -> Response:
    """Prove that the log only grew between two sizes (RFC 9162 section 2.1.4)."""
    return answer(_hashes(prove_consistency(current_hub(), query.from_, query.to)))


def _hashes(hashes: list[bytes]) -> Hashes:
    return Hashes(hashes=[base64.b64encode(one).decode() for one in hashes])
