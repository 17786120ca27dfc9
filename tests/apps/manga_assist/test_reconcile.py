"""The reconciliation: stores that agree pass, and each way in which one can differ is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manga_assist import keys, manifest
from manga_assist.manifest import WrittenHandoff, WrittenSession
from manga_assist.reconcile import Found, LoggedChange, StatusEvent, StoredItem, reconcile

ENDED_AT_MS = 1_760_000_000_001


def session(
    session_id: str, turns: int, *handoffs: WrittenHandoff, expires: bool = False, retention_s: int = 60
) -> WrittenSession:
    digests = tuple(f"{session_id}-{n}" for n in range(turns))
    return WrittenSession(session_id, "c1", digests, handoffs, ENDED_AT_MS, retention_s, expires)


ASSIGNED = WrittenHandoff(keys.handoff(1), "refund", "agent-1")
UNASSIGNED = WrittenHandoff(keys.handoff(2), "complaint", None)
ESCALATED = WrittenHandoff(keys.handoff(3), "escalated", "agent-2")
WRITTEN = [
    session("a", 21, ASSIGNED),
    session("b", 9, UNASSIGNED, ESCALATED),
    session("c", 10, expires=True),
    session("d", 1),
]


def stores(written: list[WrittenSession]) -> Found:
    """What the stores hold when everything went as it should."""
    changes: list[LoggedChange] = []

    def log(event_name: str, session_id: str, sort_key: str, fact: Any = None, by_ttl: bool = False) -> str:
        number = len(changes) + 1
        changes.append(LoggedChange(f"e{number}", event_name, number, session_id, sort_key, by_ttl, fact))
        return f"e{number}"

    events: list[StatusEvent] = []
    for s in written:
        for n, digest in enumerate(s.turns, start=1):
            log("INSERT", s.session_id, keys.turn(n), digest)
        for n in range(1, len(s.turns) // 10 + 1):
            log("INSERT", s.session_id, keys.summary(n), tuple(keys.window_turns(n)))
        for handoff in s.handoffs:
            log("INSERT", s.session_id, handoff.sort_key)
        for pair in s.status_changes:
            event_name = "INSERT" if pair[0] == "none" else "MODIFY"
            events.append(StatusEvent(log(event_name, s.session_id, keys.META, pair), s.session_id, *pair))
    inserted = [(c.session_id, c.sort_key) for c in changes if c.event_name == "INSERT"]
    expired = {s.session_id for s in written if s.expires}
    for session_id, sort_key in inserted:
        if session_id in expired:
            log("REMOVE", session_id, sort_key, ("disconnected", "none"), by_ttl=True)
    handoffs = [(s.session_id, h) for s in written for h in s.handoffs]
    ids = {(c.session_id, c.sort_key): c.event_id for c in changes if c.event_name == "INSERT"}

    def messages(chosen: list[tuple[str, WrittenHandoff]]) -> list[str]:
        return [f"{ids[session_id, h.sort_key]}/notify/0" for session_id, h in chosen]

    assigned = [(s, h) for s, h in handoffs if h.agent_id]
    escalated = [(s, h) for s, h in handoffs if h.reason == "escalated"]
    return Found(
        changes=changes,
        items=[StoredItem(s, sk, 1_760_000_061) for s, sk in inserted if s not in expired],
        analytics=[(c.event_id, c.event_name, keys.item_type(c.sort_key)) for c in changes],
        audited=[c.event_id for c in changes],
        audit_verified=len(changes),
        audit_faults=[],
        completions={
            "agent-dashboard-queue": messages(assigned),
            "customer-notification-queue": messages(handoffs),
            "escalation-queue": messages(escalated),
        },
        dead_letters={"escalation-queue-dead-letters": 0},
        dashboard=[(str(h.agent_id), name(s, h)) for s, h in assigned],
        mails=[name(s, h) for s, h in handoffs],
        escalations=[name(s, h) for s, h in escalated],
        offered=[s.session_id for s in written if s.handoffs],
        archived=events,
        event_rows=list(events),
        counters={"active_sessions": 0, "handoffs": sum(bool(s.handoffs) for s in written)},
        indexed=[
            (s, keys.summary_number(sk)) for s, sk in inserted if s not in expired and sk.startswith(keys.SUMMARY)
        ],
        markers=[(e.event_id, "handoffs" if e.new_status == "handoff" else "active_sessions") for e in events],
    )


def name(session_id: str, handoff: WrittenHandoff) -> str:
    return f"{session_id}-{keys.handoff_at_ms(handoff.sort_key):013d}"


def test_stores_that_agree_pass_every_check() -> None:
    checks = reconcile(WRITTEN, stores(WRITTEN))
    assert [check for check in checks if not check.ok] == []
    by_name = {check.name: check for check in checks}
    assert by_name["summaries = one for each ten turns, naming exactly those"].found == 3
    assert by_name["mails = all hand-offs"].found == 3
    assert by_name["expired items = REMOVE changes by time to live"].found == 12


def changed(found: Found, field: str, value: Any) -> Found:
    fields: dict[str, Any] = {field: value}
    return replace(found, **fields)


def without(field: str, position: int = 0) -> Callable[[Found], Found]:
    def fault(found: Found) -> Found:
        values = list(getattr(found, field))
        del values[position]
        return changed(found, field, values)

    return fault


def twice(field: str) -> Callable[[Found], Found]:
    return lambda found: changed(found, field, [*getattr(found, field), getattr(found, field)[0]])


def first_change(chosen: Callable[[LoggedChange], bool], **fields: Any) -> Callable[[Found], Found]:
    def fault(found: Found) -> Found:
        index = next(n for n, c in enumerate(found.changes) if chosen(c))
        changes = list(found.changes)
        changes[index] = replace(changes[index], **fields)
        return replace(found, changes=changes)

    return fault


FAULTS: dict[str, tuple[Callable[[Found], Found], str]] = {
    "a turn is lost": (without("changes"), "turns written"),
    "a change is logged twice": (twice("changes"), "sequence numbers rise"),
    "a turn says something else": (first_change(lambda c: c.sort_key.startswith("TURN"), fact="?"), "turns written"),
    "a window has other turns": (
        first_change(lambda c: c.sort_key.startswith("SUMMARY"), fact=tuple(keys.window_turns(2))),
        "summaries",
    ),
    "an analytics row is lost": (without("analytics"), "changes in the log = analytics"),
    "an analytics row is there twice": (twice("analytics"), "changes in the log = analytics"),
    "an audit entry is lost": (without("audited"), "changes in the log = audit"),
    "an audit entry is there twice": (twice("audited"), "changes in the log = audit"),
    "the audit chain is broken": (lambda f: replace(f, audit_faults=["line 3"]), "audit chain"),
    "the audit verification saw less": (lambda f: replace(f, audit_verified=1), "audit chain"),
    "a summary is not found": (without("indexed"), "summaries in the table"),
    "an expired summary is found": (twice("indexed"), "summaries in the table"),
    "a dashboard row is lost": (without("dashboard"), "dashboard rows"),
    "a mail is lost": (without("mails"), "mails"),
    "an escalation is lost": (without("escalations"), "open escalations"),
    "an event is lost": (without("archived"), "status changes = lifecycle events"),
    "an event is there twice": (twice("archived"), "status changes = lifecycle events"),
    "an event's row is lost": (without("event_rows"), "rule AllEvents"),
    "an event was not counted": (without("markers"), "rules SessionStarted"),
    "a session counts as active for ever": (
        lambda f: replace(f, counters={**f.counters, "active_sessions": 1}),
        "active sessions",
    ),
    "hand-offs are miscounted": (lambda f: replace(f, counters={**f.counters, "handoffs": 9}), "hand-offs counted"),
    "a session is not offered": (without("offered"), "sessions offered"),
    "an expired item's removal is lost": (without("changes", -1), "expired items"),
    "an item is removed by a user": (
        first_change(lambda c: c.event_name == "REMOVE", by_ttl=False),
        "nothing is removed otherwise",
    ),
    "an item never expires": (
        lambda f: replace(f, items=[replace(f.items[0], ttl=None), *f.items[1:]]),
        "items in the table",
    ),
    "a message is a dead letter": (
        lambda f: replace(f, dead_letters={"escalation-queue-dead-letters": 1}),
        "dead letters",
    ),
    "a message is left over": (lambda f: replace(f, leftovers={"agent-queue": 1}), "messages left over"),
    "a message went to the wrong queue": (
        lambda f: replace(
            f, completions={**f.completions, "escalation-queue": f.completions["customer-notification-queue"]}
        ),
        "escalation-queue",
    ),
    "a message came twice": (
        lambda f: replace(
            f, completions={**f.completions, "escalation-queue": list(f.completions["escalation-queue"]) * 2}
        ),
        "escalation-queue",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_difference_is_named(fault: str) -> None:
    make, named = FAULTS[fault]
    failed = [check.name for check in reconcile(WRITTEN, make(stores(WRITTEN))) if not check.ok]
    assert any(check.startswith(named) for check in failed), failed


def test_a_difference_comes_with_an_example() -> None:
    found = without("mails")(stores(WRITTEN))
    check = next(c for c in reconcile(WRITTEN, found) if c.name.startswith("mails"))
    assert (check.expected, check.found) == (3, 2)
    assert check.difference == "1 missing, such as a-0000000000001"


def test_manifests_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "written-0.jsonl"
    path.write_text("".join(s.to_line() for s in WRITTEN), encoding="utf-8")
    assert list(manifest.read([path])) == WRITTEN
