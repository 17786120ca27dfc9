"""Compares what the writers wrote with what the stores hold. Pure: values in, checks out.

Most checks compare two multisets, so that something missing, something twice and something else in its place
all show, each with an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demonstration.checks import EXAMPLES_MAX, Check, same
from manga_assist import keys
from manga_assist.manifest import WrittenSession


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of the sessions table's log. `fact` is what tells its content: a turn's digest, a META's statuses
    (old, new), a summary's turns.
    """

    event_id: str
    event_name: str
    sequence_number: int
    session_id: str
    sort_key: str
    by_ttl: bool
    fact: Any = None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item that the sessions table holds."""

    session_id: str
    sort_key: str
    ttl: int | None


@dataclass(frozen=True, slots=True)
class StatusEvent:
    """A lifecycle event, by the id of the change it tells of."""

    event_id: str
    session_id: str
    old_status: str
    new_status: str


@dataclass(frozen=True, slots=True)
class Found:
    """What was read back from every store."""

    changes: Sequence[LoggedChange]
    items: Sequence[StoredItem]
    analytics: Sequence[tuple[str, str, str]]
    """Rows of the lake: event id, event name, item type."""
    audited: Sequence[str]
    """The event ids of the audit log's entries."""
    audit_verified: int
    """How many entries the audit log's verification counted."""
    audit_faults: Sequence[str]
    completions: Mapping[str, Sequence[str]]
    """By queue: the ids of the messages that its consumer completed or that wait for it."""
    dead_letters: Mapping[str, int]
    dashboard: Sequence[tuple[str, str]]
    """Rows of the dashboards: agent, hand-off."""
    mails: Sequence[str]
    escalations: Sequence[str]
    offered: Sequence[str]
    """The sessions offered to agents."""
    archived: Sequence[StatusEvent]
    """The bus's own archive."""
    event_rows: Sequence[StatusEvent]
    """The rows that the rule AllEvents sent to the lake."""
    counters: Mapping[str, int]
    markers: Sequence[tuple[str, str]]
    """Which event was counted in which counter."""
    leftovers: Mapping[str, int] = field(default_factory=dict)
    """Messages still waiting or in flight, by queue."""
    indexed: Sequence[tuple[str, int]] | None = None
    """The documents of the search index: session and window; None where the index is elsewhere."""


def reconcile(written: Sequence[WrittenSession], found: Found) -> list[Check]:
    """Every equation that must hold when all is done."""
    return [
        *_log(written, found),
        *_copies(found),
        *_summaries(written, found),
        *_handoffs(written, found),
        *_lifecycle(written, found),
        *_expiry(written, found),
        *_index(found),
        *_queues(found),
    ]


def _log(written: Sequence[WrittenSession], found: Found) -> list[Check]:
    inserts = [change for change in found.changes if change.event_name == "INSERT"]
    sequence = [change.sequence_number for change in found.changes]
    return [
        same(
            "sessions started = META inserts in the log",
            (session.session_id for session in written),
            (change.session_id for change in inserts if change.sort_key == keys.META),
        ),
        same(
            "turns written = turn inserts in the log, number and content",
            (
                (session.session_id, keys.turn(number), digest)
                for session in written
                for number, digest in enumerate(session.turns, start=1)
            ),
            (
                (change.session_id, change.sort_key, change.fact)
                for change in inserts
                if change.sort_key.startswith(keys.TURN)
            ),
        ),
        same(
            "hand-offs written = hand-off inserts in the log",
            ((s.session_id, handoff.sort_key) for s in written for handoff in s.handoffs),
            ((c.session_id, c.sort_key) for c in inserts if c.sort_key.startswith(keys.HANDOFF)),
        ),
        Check(
            "sequence numbers rise, no change is logged twice",
            len(sequence),
            len(set(sequence)),
            sequence == sorted(set(sequence)) and len({c.event_id for c in found.changes}) == len(sequence),
        ),
    ]


def _copies(found: Found) -> list[Check]:
    logged = [change.event_id for change in found.changes]
    return [
        same(
            "changes in the log = analytics rows in the lake",
            ((c.event_id, c.event_name, keys.item_type(c.sort_key)) for c in found.changes),
            found.analytics,
        ),
        same("changes in the log = audit entries", logged, found.audited),
        Check(
            "audit chain verified, entry by entry",
            len(logged),
            found.audit_verified,
            not found.audit_faults and found.audit_verified == len(logged),
            "; ".join(found.audit_faults[:EXAMPLES_MAX]),
        ),
    ]


def _summaries(written: Sequence[WrittenSession], found: Found) -> list[Check]:
    return [
        same(
            "summaries = one for each ten turns, naming exactly those",
            (
                (session.session_id, keys.summary(number), tuple(keys.window_turns(number)))
                for session in written
                for number in range(1, len(session.turns) // keys.WINDOW_TURNS + 1)
            ),
            (
                (change.session_id, change.sort_key, change.fact)
                for change in found.changes
                if change.event_name == "INSERT" and change.sort_key.startswith(keys.SUMMARY)
            ),
        )
    ]


def _handoffs(written: Sequence[WrittenSession], found: Found) -> list[Check]:
    change_ids = {
        (change.session_id, change.sort_key): change.event_id
        for change in found.changes
        if change.event_name == "INSERT" and change.sort_key.startswith(keys.HANDOFF)
    }
    every = [(session.session_id, handoff) for session in written for handoff in session.handoffs]
    assigned = [(session_id, h) for session_id, h in every if h.agent_id is not None]
    escalated = [(session_id, h) for session_id, h in every if h.reason == "escalated"]
    checks = []
    for queue, chosen in (
        ("agent-dashboard-queue", assigned),
        ("customer-notification-queue", every),
        ("escalation-queue", escalated),
    ):
        checks.append(
            same(
                f"{queue}: messages by its filter policy",
                (change_ids.get((session_id, h.sort_key), "not in the log") for session_id, h in chosen),
                (message_id.split("/", 1)[0] for message_id in found.completions[queue]),
            )
        )
    return [
        *checks,
        same(
            "dashboard rows = hand-offs with an agent",
            ((h.agent_id, _handoff_name(session_id, h.sort_key)) for session_id, h in assigned),
            found.dashboard,
        ),
        same(
            "mails = all hand-offs",
            (_handoff_name(session_id, h.sort_key) for session_id, h in every),
            found.mails,
        ),
        same(
            "open escalations = escalated hand-offs",
            (_handoff_name(session_id, h.sort_key) for session_id, h in escalated),
            found.escalations,
        ),
    ]


def _lifecycle(written: Sequence[WrittenSession], found: Found) -> list[Check]:
    expected = [(session.session_id, *pair) for session in written for pair in session.status_changes]
    handed_off = [session.session_id for session in written if session.handoffs]
    counted = [
        (event.event_id, "handoffs" if event.new_status == "handoff" else "active_sessions") for event in found.archived
    ]
    return [
        same(
            "status changes = lifecycle events in the bus's archive",
            expected,
            ((e.session_id, e.old_status, e.new_status) for e in found.archived),
        ),
        same(
            "status changes in the log = those events, by id",
            (c.event_id for c in found.changes if c.sort_key == keys.META and _changes_status(c)),
            (e.event_id for e in found.archived),
        ),
        same("rule AllEvents: a row in the lake for each event", found.archived, found.event_rows),
        same("rules SessionStarted, SessionHandoff, SessionEnded: each event counted once", counted, found.markers),
        _equal("active sessions counted at the end", 0, found.counters.get("active_sessions", -1)),
        _equal("hand-offs counted", len(handed_off), found.counters.get("handoffs", 0)),
        same("sessions offered to agents = sessions handed off", handed_off, found.offered),
    ]


def _expiry(written: Sequence[WrittenSession], found: Found) -> list[Check]:
    expired = {session.session_id for session in written if session.expires}
    ends = {session.session_id: -(-session.ended_at_ms // 1000) + session.retention_s for session in written}
    inserted = [(c.session_id, c.sort_key) for c in found.changes if c.event_name == "INSERT"]
    return [
        same(
            "expired items = REMOVE changes by time to live",
            (key for key in inserted if key[0] in expired),
            ((c.session_id, c.sort_key) for c in found.changes if c.event_name == "REMOVE" and c.by_ttl),
        ),
        _equal(
            "nothing is removed otherwise",
            0,
            sum(1 for c in found.changes if c.event_name == "REMOVE" and not c.by_ttl),
        ),
        same(
            "items in the table = items of the other sessions, each with its time to live",
            ((*key, ends.get(key[0])) for key in inserted if key[0] not in expired),
            ((item.session_id, item.sort_key, item.ttl) for item in found.items),
        ),
    ]


def _index(found: Found) -> list[Check]:
    if found.indexed is None:
        return []
    summaries = [item for item in found.items if item.sort_key.startswith(keys.SUMMARY)]
    return [
        same(
            "summaries in the table = documents of the search index",
            ((item.session_id, keys.summary_number(item.sort_key)) for item in summaries),
            found.indexed,
        )
    ]


def _queues(found: Found) -> list[Check]:
    return [
        _none("dead letters", found.dead_letters),
        _none("messages left over", found.leftovers),
    ]


def _changes_status(change: LoggedChange) -> bool:
    return change.event_name != "REMOVE" and change.fact[0] != change.fact[1]


def _handoff_name(session_id: str, sort_key: str) -> str:
    return f"{session_id}-{keys.handoff_at_ms(sort_key):013d}"


def _equal(name: str, expected: int, found: int) -> Check:
    return Check(name, expected, found, expected == found)


def _none(name: str, counts: Mapping[str, int]) -> Check:
    present = {queue: count for queue, count in counts.items() if count}
    return Check(
        name, 0, sum(present.values()), not present, ", ".join(f"{q}: {n}" for q, n in sorted(present.items()))
    )
