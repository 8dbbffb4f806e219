"""What is wrong with this hub, or soon will be, and what to do about it. Every check only looks."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hub.crypto.key_manifest import HUB_KEYS, HeldKeyUse
from hub.domain.deliveries import Delivery, DeliveryState
from hub.domain.encoding import format_time, parse_time
from hub.domain.keys import KeyState, KeyUse
from hub.domain.parties import HUB_PARTY, DeliveryMode, Standing
from hub.domain.refusals import Refusal, RefusalCode
from hub.domain.registry import Registry
from hub.policy.push_addresses import is_allowed_address
from hub.services.clock import DemonstrationClock
from hub.services.hub import Hub
from hub.services.manage_keys import KeyFolder, list_keys
from hub.services.record_agreement import find_version, verify_signature
from hub.storage import audit, deliveries, inspection, log
from hub.storage import registry as rows
from hub.storage.store import Work

WARN_BEFORE = timedelta(days=61)
LONGEST_SEQUENCER_LAG = timedelta(seconds=10)
LONGEST_QUEUE_LAG = timedelta(minutes=5)
LITTLE_DISK_BYTES = 5 << 30
TOO_LITTLE_DISK_BYTES = 512 << 20
MOST_LISTED = 20
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_LATER = frozenset({RefusalCode.KEY_NOT_VALID, RefusalCode.UNKNOWN_SENDER})


class Severity(StrEnum):
    """How bad a finding is. Errors alone make `hub doctor` fail."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Symptom:
    """One finding: which check made it, what it found, and what to do."""

    check: str
    severity: Severity
    found: str
    remedy: str


@dataclass(frozen=True)
class _Examination:
    hub: Hub
    folder: KeyFolder
    work: Work
    registry: Registry
    now: datetime


_Symptoms = Iterator[tuple[Severity, str, str]]
_Check = Callable[[_Examination], _Symptoms]


def inspect_hub(hub: Hub, folder: KeyFolder) -> list[Symptom]:
    """Run every check on one consistent view of the store; the worst findings first."""
    with hub.store.reading() as work:
        examination = _Examination(hub, folder, work, hub.registry.at(work), hub.clock.now())
        found = [Symptom(name, *one) for name, check in CHECKS.items() for one in check(examination)]
    order = list(Severity)
    return sorted(found, key=lambda one: -order.index(one.severity))


def _check_database(of: _Examination) -> _Symptoms:
    facts = inspection.database_facts(of.hub.store)
    for name, value in facts.unsafe.items():
        yield Severity.ERROR, f"{facts.kind} runs with {name} = {value}: a commit may be lost", "set it back to its safe value"
    if facts.folder is not None:
        free = shutil.disk_usage(facts.folder).free
        if free < LITTLE_DISK_BYTES:
            severity = Severity.ERROR if free < TOO_LITTLE_DISK_BYTES else Severity.WARNING
            yield (
                severity,
                f"{free >> 20} MiB are free where the database stands",
                "make room; messages are refused when it is full",
            )


def _check_key_files(of: _Examination) -> _Symptoms:
    if of.folder.path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield Severity.ERROR, "others may write to the folder of the private keys", f"chmod 700 {of.folder.path}"
    states = {key.kid: key.state for key in of.registry.keys.values()}
    for line in of.folder.lines():
        file = of.folder.path / line.file
        if line.state is not KeyState.REVOKED and (not file.exists() or file.stat().st_mode & _OPEN_TO_OTHERS):
            yield Severity.ERROR, f"the file of key {line.kid} is missing or open to others", f"restore it, chmod 600 {file}"
        if states.get(line.kid, line.state) is not line.state:
            stands = states[line.kid]
            yield (
                Severity.ERROR,
                f"key {line.kid} is {stands} in the registry and {line.state} in the folder",
                _command_to(stands),
            )


def _command_to(state: KeyState) -> str:
    commands = {KeyState.ACTIVE: "activate", KeyState.RETIRING: "retire", KeyState.REVOKED: "revoke"}
    return f"give `hub key {commands.get(state, 'list')}` again: it was interrupted"


def _check_own_keys(of: _Examination) -> _Symptoms:
    current = {(line.use, line.algorithm) for line in of.folder.lines() if not line.owner and line.is_current(of.now)}
    for use, algorithm in HUB_KEYS:
        if (use, algorithm) not in current:
            yield Severity.ERROR, f"the hub has no current {algorithm} key for {use}", _replacement(use)


def _replacement(use: HeldKeyUse) -> str:
    return f"`hub key new --use {use}`, then `hub key activate KID`"


def _check_key_ages(of: _Examination) -> _Symptoms:
    for line in list_keys(of.hub, of.folder):
        if line.state is KeyState.ACTIVE and line.not_after <= of.now + WARN_BEFORE:
            past = line.not_after <= of.now
            what = f"key {line.kid} of {line.owner} ({line.use}) {'ended' if past else 'ends'} at {format_time(line.not_after)}"
            grave = past and line.owner == HUB_PARTY
            yield Severity.ERROR if grave else Severity.WARNING, what, "register its successor, and `hub key activate` it"


def _check_parties(of: _Examination) -> _Symptoms:
    for party in of.registry.parties.values():
        if party.standing is Standing.SUSPENDED:
            yield Severity.NOTE, f"{party.authority} is suspended", f"`hub party reinstate {party.authority}` when that is over"
        for use, cannot in ((KeyUse.SEALING, "get messages"), (KeyUse.SIGNING, "send messages or confirm them")):
            if of.registry.current_key(party.authority, use, of.now) is None:
                what = f"{party.authority} has no current key for {use} and cannot {cannot}"
                yield Severity.WARNING, what, f"`hub key import --owner {party.authority} FILE`"
        if party.parent and party.parent not in of.registry.parties:
            what = f"{party.authority} belongs to {party.parent}, which is not registered"
            yield Severity.WARNING, what, "`hub party add` that one too"
        allowed = of.hub.limits.push_allowed_hosts
        if party.delivery is DeliveryMode.PUSH and not is_allowed_address(party.push_address, allowed):
            what = f"the push address of {party.authority} is not on the allow-list"
            yield Severity.ERROR, what, "add its host to push.allowed_hosts, or let the party pull"


def _check_agreements(of: _Examination) -> _Symptoms:
    for record in of.registry.agreements.values():
        newest = record.versions[-1]
        if not record.is_signed(newest):
            signed = record.signed_by.get(newest.version, frozenset())
            missing = ", ".join(one.authority for one in newest.operating_authorities if one.authority not in signed)
            what = f"{record.id} version {newest.version} is a draft: not signed by {missing}"
            sign = f"agreement sign {record.id} {newest.version}"
            yield (
                Severity.WARNING,
                what,
                f"each signs with `hub-partner {sign}`; for a key kept here: `hub {sign} --as WHO`",
            )
        governing = record.governing(of.now)
        if governing is None:
            continue
        end = min(one for one in (governing.term.end, record.ended_at, datetime.max.replace(tzinfo=of.now.tzinfo)) if one)
        if end <= of.now + WARN_BEFORE:
            past = end <= of.now
            what = f"{record.id} version {governing.version} {'ended' if past else 'ends'} at {format_time(end)}"
            yield Severity.NOTE if past else Severity.WARNING, what, "record and sign a successor where exchange goes on"
        if any(one.covers(of.now) for one in (*governing.term.suspensions, *record.suspensions)):
            yield Severity.NOTE, f"{record.id} is suspended", f"`hub agreement resume {record.id}` when that is over"


def _check_signatures(of: _Examination) -> _Symptoms:
    for row in rows.load(of.work).signatures:
        try:
            verify_signature(of.registry, find_version(of.registry, row.id, row.version), row.jws, of.now)
        except Refusal as refusal:
            if refusal.code not in _LATER:  # the key may have retired since it signed
                what = f"the recorded signature of {row.authority} over {row.id} version {row.version} does not verify"
                yield Severity.ERROR, what, "the store was altered: `hub audit verify`, and ask the authority to sign again"


def _check_deliveries(of: _Examination) -> _Symptoms:
    dead = deliveries.counts(of.work).get(DeliveryState.DEAD.value, 0)
    if dead:
        yield Severity.WARNING, f"{dead} deliveries were given up", "`hub delivery list --state dead`, `hub delivery requeue ID`"
    waiting = [one for state in _WAITING for one in deliveries.in_state(of.work, state, MOST_LISTED)]
    for one in waiting:
        if one.last_error:
            what = f"delivery {one.id} to {one.recipient} failed {one.attempts} times ({one.last_error})"
            yield Severity.WARNING, what, f"next attempt at {format_time(one.next_attempt_at)}; ask the partner"
    if any(_is_left_lying(one, of.now) for one in waiting):
        yield Severity.ERROR, "due deliveries are left lying", "no delivery worker runs: `hub worker`, or `hub serve`"


_WAITING = (DeliveryState.QUEUED, DeliveryState.SENT)


def _is_left_lying(delivery: Delivery, now: datetime) -> bool:
    return delivery.next_attempt_at < now - LONGEST_QUEUE_LAG


def _check_log(of: _Examination) -> _Symptoms:
    oldest = audit.pending(of.work, 1)
    if oldest and _time_of(oldest[0].entry) < of.now - LONGEST_SEQUENCER_LAG:
        what = f"{audit.count_pending(of.work)} audit entries wait for their place in the log"
        yield Severity.ERROR, what, "no sequencer runs: `hub worker`, or `hub serve`"
    size, _root = log.state(of.work)
    latest = log.latest_checkpoint(of.work)
    if size and (latest is None or latest[0] < size) and not oldest:
        yield Severity.ERROR, f"the log has {size} entries and no signed checkpoint over them", "no sequencer runs: `hub worker`"


def _check_clock(of: _Examination) -> _Symptoms:
    if isinstance(of.hub.clock, DemonstrationClock):
        yield Severity.WARNING, "the clock of the demonstration is in use", "never with real messages: disable [demonstration]"
    newest, signed_at = inspection.newest_entry(of.work), inspection.checkpoint_time(of.work)
    times = [one for one in (_time_of(newest) if newest else None, signed_at) if one]
    if times and max(times) > of.now + of.hub.limits.max_issued_ahead:
        yield (
            Severity.ERROR,
            f"the clock is behind what was recorded at {format_time(max(times))}",
            "set it right before anything else",
        )


def _time_of(entry: bytes) -> datetime:
    return parse_time(json.loads(entry)["at"])


CHECKS: dict[str, _Check] = {
    "database": _check_database,
    "key files": _check_key_files,
    "hub keys": _check_own_keys,
    "key ages": _check_key_ages,
    "parties": _check_parties,
    "agreements": _check_agreements,
    "signatures": _check_signatures,
    "deliveries": _check_deliveries,
    "log": _check_log,
    "clock": _check_clock,
}
