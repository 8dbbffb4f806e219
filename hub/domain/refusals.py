"""What the other side did wrong, and what we did wrong: two kinds of failure that are never mixed.

A `Refusal` is the other side's fault. It is expected, audited, and answered with a stable code. A `HubFault` is ours: it is
answered with a reference number and no detail. The HTTP status of each code stands in `hub/http_api/problems.py`, and
`docs/problems.md` is generated from the meanings here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class RefusalCode(StrEnum):
    """Every reason for which the hub refuses something. Codes are stable: a code is never given another meaning."""

    # opening the envelope
    TOO_LARGE = "too_large"
    WRONG_MEDIA_TYPE = "wrong_media_type"
    MALFORMED_ENVELOPE = "malformed_envelope"
    UNSUPPORTED_PROFILE = "unsupported_profile"
    CANNOT_UNSEAL = "cannot_unseal"
    WRONG_PROFILE = "wrong_profile"
    # who signed
    UNKNOWN_SENDER = "unknown_sender"
    KEY_NOT_VALID = "key_not_valid"
    BAD_SIGNATURE = "bad_signature"
    SENDER_MISMATCH = "sender_mismatch"
    # the message itself
    MESSAGE_ID_REUSED = "message_id_reused"
    EXPIRED = "expired"
    ISSUED_IN_FUTURE = "issued_in_future"
    UNKNOWN_TYPE = "unknown_type"
    SCHEMA_VIOLATION = "schema_violation"
    # the decision
    NO_AGREEMENT = "no_agreement"
    AGREEMENT_NOT_SIGNED = "agreement_not_signed"
    AGREEMENT_NOT_IN_FORCE = "agreement_not_in_force"
    AGREEMENT_SUSPENDED = "agreement_suspended"
    SENDER_NOT_IN_GOOD_STANDING = "sender_not_in_good_standing"
    SENDER_NOT_OPERATING = "sender_not_operating"
    NO_RECIPIENT = "no_recipient"
    RECIPIENT_UNKNOWN = "recipient_unknown"
    RECIPIENT_NOT_IN_GOOD_STANDING = "recipient_not_in_good_standing"
    RECIPIENT_NOT_OPERATING = "recipient_not_operating"
    RECIPIENT_NOT_REACHABLE = "recipient_not_reachable"
    FLOW_NOT_COVERED = "flow_not_covered"
    TYPE_NOT_COVERED = "type_not_covered"
    PURPOSE_NOT_ALLOWED = "purpose_not_allowed"
    CATEGORY_NOT_COVERED = "category_not_covered"
    CLASSIFICATION_NOT_MAPPED = "classification_not_mapped"
    CLASSIFICATION_TOO_HIGH = "classification_too_high"
    TLP_TOO_WIDE = "tlp_too_wide"
    HANDLING_NOT_COVERED = "handling_not_covered"
    TRUST_MODE_NOT_ALLOWED = "trust_mode_not_allowed"
    CASE_AGREEMENT_MISMATCH = "case_agreement_mismatch"
    # receipts, reading, access
    RECEIPT_MISMATCH = "receipt_mismatch"
    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, not a secret
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    # the log
    BAD_PROOF = "bad_proof"
    # administration: parties, keys, agreements
    KEY_FILE_UNSAFE = "key_file_unsafe"
    INVALID_KEY = "invalid_key"
    INVALID_PARTY = "invalid_party"
    INVALID_AGREEMENT = "invalid_agreement"
    VERSION_IS_IMMUTABLE = "version_is_immutable"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"


MEANINGS: dict[RefusalCode, str] = {
    RefusalCode.TOO_LARGE: "The request is larger than the hub accepts.",
    RefusalCode.WRONG_MEDIA_TYPE: "The Content-Type is not one this address accepts.",
    RefusalCode.MALFORMED_ENVELOPE: "The bytes are not an envelope of the exact form that the wire profile defines.",
    RefusalCode.UNSUPPORTED_PROFILE: "The envelope names a profile, algorithm or header parameter that the hub does not accept.",
    RefusalCode.CANNOT_UNSEAL: "The envelope is not sealed to a key of this hub, or it was altered on the way.",
    RefusalCode.WRONG_PROFILE: "The envelope uses another sealing profile than the one registered for its sender.",
    RefusalCode.UNKNOWN_SENDER: "The signing key is not in the registry.",
    RefusalCode.KEY_NOT_VALID: "The key is not valid now, or not registered for this kind of signature.",
    RefusalCode.BAD_SIGNATURE: "A signature does not verify.",
    RefusalCode.SENDER_MISMATCH: "The signer, the sender or the recipients in the signed header disagree with the seal.",
    RefusalCode.MESSAGE_ID_REUSED: "The sender used this message id before for other content.",
    RefusalCode.EXPIRED: "The message is past its expiry time.",
    RefusalCode.ISSUED_IN_FUTURE: "The message was issued further in the future than clocks may differ.",
    RefusalCode.UNKNOWN_TYPE: "The message type or its schema version is not in the catalogue.",
    RefusalCode.SCHEMA_VIOLATION: "The header or the body does not fit the schema.",
    RefusalCode.NO_AGREEMENT: "The named agreement is not one between these parties that the hub knows.",
    RefusalCode.AGREEMENT_NOT_SIGNED: "No version of the agreement is signed by every operating authority.",
    RefusalCode.AGREEMENT_NOT_IN_FORCE: "The agreement has not entered into force, or has ended.",
    RefusalCode.AGREEMENT_SUSPENDED: "The agreement is suspended.",
    RefusalCode.SENDER_NOT_IN_GOOD_STANDING: "The sender is suspended in the registry.",
    RefusalCode.SENDER_NOT_OPERATING: "The sender is not an operating authority of the agreement.",
    RefusalCode.NO_RECIPIENT: "The message names no recipient; an empty list means nobody.",
    RefusalCode.RECIPIENT_UNKNOWN: "A recipient is not in the registry.",
    RefusalCode.RECIPIENT_NOT_IN_GOOD_STANDING: "A recipient is suspended in the registry.",
    RefusalCode.RECIPIENT_NOT_OPERATING: "A recipient is not an operating authority of the agreement.",
    RefusalCode.RECIPIENT_NOT_REACHABLE: "A recipient has no valid sealing key; nothing is sent in the clear.",
    RefusalCode.FLOW_NOT_COVERED: "The agreement has no flow from this sender to this recipient.",
    RefusalCode.TYPE_NOT_COVERED: "The agreement does not let this message type travel in this direction.",
    RefusalCode.PURPOSE_NOT_ALLOWED: "The agreement does not allow this purpose.",
    RefusalCode.CATEGORY_NOT_COVERED: "The body holds a data category that the agreement does not let travel in this direction.",
    RefusalCode.CLASSIFICATION_NOT_MAPPED: "The agreement does not map this classification level, so it does not travel.",
    RefusalCode.CLASSIFICATION_TOO_HIGH: "The classification is higher than the agreement lets travel in this direction.",
    RefusalCode.TLP_TOO_WIDE: "The TLP marking allows a wider audience than the agreement does.",
    RefusalCode.HANDLING_NOT_COVERED: "The agreement does not provide for this handling code.",
    RefusalCode.TRUST_MODE_NOT_ALLOWED: "The agreement does not allow this way of sealing (inspected or blind).",
    RefusalCode.CASE_AGREEMENT_MISMATCH: "The case or the message answered is unknown to the sender, or under another agreement.",
    RefusalCode.RECEIPT_MISMATCH: "The receipt does not match the delivery it is for.",
    RefusalCode.INVALID_REQUEST: "The request is not of the form that this address documents.",
    RefusalCode.INVALID_TOKEN: "The access token or its proof of possession is missing, expired or wrong.",
    RefusalCode.NOT_FOUND: "There is nothing here that you may see.",
    RefusalCode.METHOD_NOT_ALLOWED: "This address does not accept this HTTP method.",
    RefusalCode.RATE_LIMITED: "Too many requests; try again later.",
    RefusalCode.OVERLOADED: "The hub cannot take this request now; nothing was accepted, try again later.",
    RefusalCode.BAD_PROOF: "A checkpoint of the log, a cosignature or a Merkle proof is malformed or does not verify.",
    RefusalCode.KEY_FILE_UNSAFE: "A private key file is readable by others, or not of the expected form.",
    RefusalCode.INVALID_KEY: "The key is not one that the registry accepts.",
    RefusalCode.INVALID_PARTY: "The party entry is incomplete or contradicts the registry.",
    RefusalCode.INVALID_AGREEMENT: "The agreement is incomplete or contradicts itself.",
    RefusalCode.VERSION_IS_IMMUTABLE: "This version is recorded with other content; a change needs a new version.",
    RefusalCode.ADDRESS_NOT_ALLOWED: "The push address is not on the allow-list.",
}


class Finding(NamedTuple):
    """One rule's result: what it looked at, under which article, and what it found.

    `code` is None where the rule is satisfied. `recipient` is None where the rule concerns the message as a whole.
    `values` holds codes, ids and levels, never content.
    """

    rule: str
    code: RefusalCode | None
    article: str = ""
    recipient: str | None = None
    values: tuple[tuple[str, str], ...] = ()

    @property
    def failed(self) -> bool:
        """Whether this finding stands against release."""
        return self.code is not None


class Refusal(Exception):
    """The other side's fault: expected, audited, answered with a stable code.

    `detail` is one sentence for a person and holds no content of the message. `findings` is the complete list of failed rules.
    """

    def __init__(self, code: RefusalCode, detail: str = "", findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(f"{code}: {detail or MEANINGS[code]}")
        self.code = code
        self.detail = detail or MEANINGS[code]
        self.findings = findings


class HubFault(Exception):
    """Our fault: answered with a reference number and no detail."""


class OverloadedFault(HubFault):
    """Our fault for the moment: the store has no room, or was busy for too long. Nothing was kept: ask again later."""
