"""The declaration's routes as transcripts: this change arrives, that is to be done."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite import INSERT, MODIFY, REMOVE, Change
from manga_assist import app as manga_assist

TTL_IDENTITY = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
META = {
    "customer_id": {"S": "c1"},
    "status": {"S": "active"},
    "turn_count": {"N": "0"},
    "retention_s": {"N": "60"},
    "updated_at_ms": {"N": "1760000000000"},
}


def change(
    event_name: str,
    sort_key: str,
    old: dict[str, Any] | None = None,
    new: dict[str, Any] | None = None,
    user_identity: dict[str, str] | None = None,
) -> Change:
    keys = {"PK": {"S": "SESSION#s1"}, "SK": {"S": sort_key}}
    return Change(
        id="id1",
        table="manga-assist-sessions",
        event_name=event_name,
        keys=keys,
        old_image=None if old is None else {**keys, **old},
        new_image=None if new is None else {**keys, **new},
        sequence_number="100000000000000000001",
        created_at_us=1_760_000_000_123_000,
        size_bytes=321,
        user_identity=user_identity,
    )


def planned(arriving: Change) -> dict[str, Any]:
    """The effects by their route, without those that every change has."""
    effects = manga_assist.sessions.router().plan(arriving, lane="s1")
    records = [stamped for stamped in effects if "/keep_records/" in stamped.id]
    assert [type(stamped.effect).__name__ for stamped in records] == ["Deliver", "Append"]
    return {stamped.id.split("/")[1]: stamped.effect for stamped in effects if stamped not in records}


def row(arriving: Change) -> dict[str, Any]:
    effects = manga_assist.sessions.router().plan(arriving, lane="s1")
    return next(dict(s.effect.record) for s in effects if type(s.effect).__name__ == "Deliver")  # type: ignore[union-attr]


def entry(arriving: Change) -> dict[str, Any]:
    effects = manga_assist.sessions.router().plan(arriving, lane="s1")
    return next(s.effect.entry.value for s in effects if type(s.effect).__name__ == "Append")  # type: ignore[union-attr]


@pytest.mark.parametrize(("number", "asks"), [(1, False), (9, False), (10, True), (11, False), (1_230, True)])
def test_every_tenth_turn_asks_for_a_summary(number: int, asks: bool) -> None:
    turn = {"role": {"S": "customer"}, "content_compressed": {"B": "eJwDAAAAAAE="}}
    effects = planned(change(INSERT, f"TURN#{number:08d}", new=turn))
    assert effects == ({"ask_for_summary": manga_assist.summarize.later(session_id="s1")} if asks else {})


def test_a_turn_that_changes_or_goes_asks_for_nothing() -> None:
    turn = {"role": {"S": "customer"}}
    assert planned(change(MODIFY, "TURN#00000010", old=turn, new={**turn, "ttl": {"N": "1"}})) == {}
    assert planned(change(REMOVE, "TURN#00000010", old=turn, user_identity=TTL_IDENTITY)) == {}


@pytest.mark.parametrize(
    ("event_name", "old_status", "new_status", "route"),
    [
        (INSERT, "none", "active", "announce_start"),
        (MODIFY, "active", "handoff", "announce_status"),
        (MODIFY, "handoff", "disconnected", "announce_status"),
        (MODIFY, "active", "disconnected", "announce_status"),
    ],
)
def test_each_change_of_status_is_one_event(event_name: str, old_status: str, new_status: str, route: str) -> None:
    old = None if event_name == INSERT else {**META, "status": {"S": old_status}}
    effects = planned(change(event_name, "META", old=old, new={**META, "status": {"S": new_status}}))
    assert effects == {
        route: manga_assist.bus.put(
            "SessionStatusChanged",
            event_id="id1",
            session_id="s1",
            old_status=old_status,
            new_status=new_status,
            customer_id="c1",
            retention_s=60,
            at_ms=1_760_000_000_000,
        )
    }


def test_other_changes_of_meta_are_no_event() -> None:
    assert planned(change(MODIFY, "META", old=META, new={**META, "turn_count": {"N": "1"}})) == {}
    assert planned(change(MODIFY, "META", old=META, new={**META, "ttl": {"N": "1"}})) == {}
    assert planned(change(REMOVE, "META", old=META, user_identity=TTL_IDENTITY)) == {}


@pytest.mark.parametrize("agent_id", [None, "agent-007"])
def test_a_handoff_is_published_with_an_agent_only_when_one_is_assigned(agent_id: str | None) -> None:
    item = {"reason": {"S": "escalated"}, "customer_id": {"S": "c1"}}
    agent = {} if agent_id is None else {"agent_id": {"S": agent_id}}
    effects = planned(change(INSERT, "HANDOFF#1760000000000", new={**item, **agent}))
    assert effects == {
        "notify": manga_assist.handoff_topic.publish(
            {
                "session_id": "s1",
                "customer_id": "c1",
                "reason": "escalated",
                "agent_id": agent_id,
                "at_ms": 1_760_000_000_000,
            },
            subject="Chat handoff: s1",
            attributes={"event_type": "handoff", "reason": "escalated"} | ({"agent_id": agent_id} if agent_id else {}),
        )
    }


@pytest.mark.parametrize(
    ("attributes", "queues"),
    [
        ({"event_type": "handoff", "reason": "refund"}, {"customer-notification-queue"}),
        (
            {"event_type": "handoff", "reason": "refund", "agent_id": "a"},
            {"customer-notification-queue", "agent-dashboard-queue"},
        ),
        ({"event_type": "handoff", "reason": "escalated"}, {"customer-notification-queue", "escalation-queue"}),
    ],
)
def test_subscriptions_filter_on_attributes(attributes: dict[str, str], queues: set[str]) -> None:
    # S32: the scope is the message's attributes.
    assert {
        subscription.queue.name
        for subscription in manga_assist.handoff_topic.subscriptions
        if subscription.filter_policy is None or subscription.filter_policy.matches(attributes, {})
    } == queues


@pytest.mark.parametrize(
    ("status", "targets"),
    [
        ("active", {"count_active_session", "manga-assist-archive"}),
        ("handoff", {"agent-queue", "count_handoff", "manga-assist-archive"}),
        ("disconnected", {"clean_up", "count_active_session", "manga-assist-archive"}),
    ],
)
def test_rules_send_events_to_their_targets(status: str, targets: set[str]) -> None:
    event = {
        "source": "mangaassist.sessions",
        "detail-type": "SessionStatusChanged",
        "detail": {"old_status": "none", "new_status": status},
    }
    assert {t.name for rule in manga_assist.bus.rules if rule.pattern.matches(event) for t in rule.targets} == targets


def test_a_turn_s_row_is_flat_and_without_its_words() -> None:
    turn = {"role": {"S": "customer"}, "content_compressed": {"B": "eJwDAAAAAAE="}}
    assert row(change(INSERT, "TURN#00000007", new=turn)) == {
        "event_id": "id1",
        "event_name": "INSERT",
        "session_id": "s1",
        "item_type": "turn",
        "sk": "TURN#00000007",
        "by_ttl": False,
        "size_bytes": 321,
        "at_ms": 1_760_000_000_123,
        "role": "customer",
        "turn_number": 7,
    }


def test_rows_tell_statuses_reasons_windows_and_expiry() -> None:
    meta = row(change(MODIFY, "META", old=META, new={**META, "status": {"S": "handoff"}}))
    assert (meta["item_type"], meta["old_status"], meta["status"]) == ("meta", "active", "handoff")
    handoff = row(change(INSERT, "HANDOFF#1760000000000", new={"reason": {"S": "refund"}, "customer_id": {"S": "c"}}))
    assert (handoff["item_type"], handoff["reason"], handoff["agent_id"]) == ("handoff", "refund", None)
    summary = row(change(INSERT, "SUMMARY#000003", new={"method": {"S": "extractive"}}))
    assert (summary["item_type"], summary["window_number"]) == ("summary", 3)
    expired = row(change(REMOVE, "META", old=META, user_identity=TTL_IDENTITY))
    assert (expired["by_ttl"], expired["status"]) == (True, "active")


def test_an_audit_entry_has_both_images_and_who() -> None:
    expired = entry(change(REMOVE, "META", old=META, user_identity=TTL_IDENTITY))
    keys = {"PK": {"S": "SESSION#s1"}, "SK": {"S": "META"}}
    assert expired == {
        "event_id": "id1",
        "event_name": "REMOVE",
        "table": "manga-assist-sessions",
        "keys": keys,
        "before": {**keys, **META},
        "after": None,
        "by": TTL_IDENTITY,
        "sequence_number": "100000000000000000001",
        "at_ms": 1_760_000_000_123,
    }
    assert entry(change(INSERT, "META", new=META))["by"] is None


def test_an_item_of_another_kind_is_recorded_all_the_same() -> None:
    stranger = change(INSERT, "NOTE#1", new={"text": {"S": "x"}})
    assert planned(stranger) == {}
    assert row(stranger)["item_type"] == "note"
