"""Counting and cleaning up: exact under retries, replays and crashes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from afterwrite.summaries import ExtractiveSummarizer
from manga_assist import app, lifecycle
from manga_assist.sessions import Sessions

NOW_MS = 1_760_000_000_000
EXPIRES_AT_S = 1_760_000_061  # the end at NOW_MS + 1, rounded up, and a minute


class Interrupted:
    """A context with something that happens before each of its transactions."""

    def __init__(self, context: Any, before_transact: Callable[[], Any]) -> None:
        self.now_ms = context.now_ms
        self._context = context
        self._before_transact = before_transact

    def transact(self, writes: Any) -> None:
        self._before_transact()
        self._context.transact(writes)


def ended(session_id: str = "s1") -> dict[str, Any]:
    return {"detail": {"event_id": "e9", "session_id": session_id, "at_ms": NOW_MS + 1, "retention_s": 60}}


def event(event_id: str, **envelope: Any) -> dict[str, Any]:
    return {"detail": {"event_id": event_id}, **envelope}


@pytest.fixture
def ended_session(dynamodb_client: Any) -> Callable[[int], None]:
    def write(turns: int) -> None:
        sessions = Sessions(dynamodb_client, app.sessions.name)
        sessions.start("s1", "c1", NOW_MS, retention_s=60)
        for n in range(turns):
            sessions.add_turn("s1", "customer", f"sentence {n}", NOW_MS)
        sessions.hand_off("s1", "refund", None, NOW_MS)
        sessions.disconnect("s1", NOW_MS + 1)

    return write


def test_an_event_counts_once_however_often_it_comes(make_context: Any, operations_table: Any) -> None:
    context = make_context(NOW_MS)
    for event_id, step in (("a", 1), ("b", 1), ("a", 1), ("c", -1)):
        lifecycle.count(context, app.operations, "active_sessions", event(event_id), step)
    replayed = event("b", **{"replay-name": "yesterday", "id": "another"})
    assert lifecycle.count(context, app.operations, "active_sessions", replayed, 1) is False
    assert lifecycle.count(context, app.operations, "handoffs", event("a"), 1) is True
    values = {row["SK"]: row["value"] for row in operations_table.query("COUNTERS")}
    assert values == {"active_sessions": 1, "handoffs": 1}
    marker = operations_table.query("EVENT#a")[0]
    assert marker["ttl"] == NOW_MS // 1000 + lifecycle.MARKER_DAYS * 86_400


def test_clean_up_completes_summaries_and_lets_everything_expire(
    ended_session: Callable[[int], None], make_context: Any, sessions_table: Any
) -> None:
    ended_session(25)
    context = make_context(NOW_MS)
    changed = lifecycle.clean_up(context, app.sessions, sessions_table, ended(), ExtractiveSummarizer())
    items = sessions_table.query("SESSION#s1")
    assert changed == len(items) == 1 + 25 + 1 + 2
    assert {item["ttl"] for item in items} == {EXPIRES_AT_S}
    again = lifecycle.clean_up(context, app.sessions, sessions_table, ended(), ExtractiveSummarizer())
    assert again == 0


def test_clean_up_cut_short_goes_on_where_it_was(
    ended_session: Callable[[int], None], make_context: Any, sessions_table: Any
) -> None:
    # After the first hundred items the attempt ends; some of them expire before the next attempt, a summary and
    # turns of its window among them. The next attempt must make no summary of what is left.
    ended_session(120)
    context = make_context(NOW_MS)
    transactions = 0

    def crash_at_the_second() -> None:
        nonlocal transactions
        transactions += 1
        if transactions == 2:
            raise ConnectionError("cut short")

    interrupted = Interrupted(context, crash_at_the_second)
    with pytest.raises(ConnectionError):
        lifecycle.clean_up(interrupted, app.sessions, sessions_table, ended(), ExtractiveSummarizer())
    assert "ttl" in sessions_table.get({"PK": "SESSION#s1", "SK": "META"})
    for sort_key in ("SUMMARY#000012", "TURN#00000111", "TURN#00000120"):
        sessions_table.delete({"PK": "SESSION#s1", "SK": sort_key})

    lifecycle.clean_up(context, app.sessions, sessions_table, ended(), ExtractiveSummarizer())
    items = sessions_table.query("SESSION#s1")
    assert len(items) == 1 + 1 + 118 + 11
    assert {item["ttl"] for item in items} == {EXPIRES_AT_S}


def test_an_item_that_expires_during_the_clean_up_does_not_come_back(
    ended_session: Callable[[int], None], make_context: Any, sessions_table: Any
) -> None:
    ended_session(5)
    context = Interrupted(
        make_context(NOW_MS), lambda: sessions_table.delete({"PK": "SESSION#s1", "SK": "TURN#00000003"})
    )
    lifecycle.clean_up(context, app.sessions, sessions_table, ended(), ExtractiveSummarizer())
    items = sessions_table.query("SESSION#s1")
    assert "TURN#00000003" not in {item["SK"] for item in items}
    assert {item["ttl"] for item in items} == {EXPIRES_AT_S}


class Counting:
    """A table's client that counts the queries."""

    def __init__(self, table: Any) -> None:
        self.reads = 0
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def query(self, *arguments: Any, **options: Any) -> Any:
        self.reads += 1
        return self._table.query(*arguments, **options)


def test_clean_up_reads_again_only_what_one_transaction_has_left(
    ended_session: Callable[[int], None], make_context: Any, sessions_table: Any
) -> None:
    # META, a hand-off, 12 summaries.
    ended_session(120)
    table = Counting(sessions_table)
    assert lifecycle.clean_up(make_context(NOW_MS), app.sessions, table, ended(), ExtractiveSummarizer()) == 134
    assert table.reads == 2


def test_clean_up_of_few_items_reads_them_once(
    ended_session: Callable[[int], None], make_context: Any, sessions_table: Any
) -> None:
    ended_session(25)
    table = Counting(sessions_table)
    assert lifecycle.clean_up(make_context(NOW_MS), app.sessions, table, ended(), ExtractiveSummarizer()) == 29
    assert table.reads == 1
    assert {item["ttl"] for item in sessions_table.query("SESSION#s1")} == {EXPIRES_AT_S}


def test_clean_up_of_a_session_that_is_gone_does_nothing(make_context: Any, sessions_table: Any) -> None:
    context = make_context(NOW_MS)
    assert lifecycle.clean_up(context, app.sessions, sessions_table, ended(), ExtractiveSummarizer()) == 0
