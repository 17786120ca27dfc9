"""The sessions API: each operation one transaction, once, whatever becomes of its answer."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from manga_assist import app
from manga_assist.sessions import SessionEnded, SessionError, SessionExists, Sessions, UnknownSession

TABLE = app.sessions.name
NOW_MS = 1_760_000_000_000


@pytest.fixture
def sessions(dynamodb_client: Any) -> Sessions:
    return Sessions(dynamodb_client, TABLE)


def items(table: Any, session_id: str = "s1") -> dict[str, dict[str, Any]]:
    return {item["SK"]: item for item in table.query(f"SESSION#{session_id}")}


class Faulty:
    """A client whose transactions go wrong as the script says, one word for each: ok, lost, refused or late.

    lost: it happened, the answer did not arrive. refused: nobody listens. late: the answer was lost and another
    writer's turn follows before the request is sent again. After the script all goes well.
    """

    def __init__(self, client: Any, script: list[str], meanwhile: Callable[[], Any] | None = None) -> None:
        self._client = client
        self._script: Iterator[str] = iter(script)
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **parameters: Any) -> Any:
        fault = next(self._script, "ok")
        if fault == "refused":
            raise EndpointConnectionError(endpoint_url="http://127.0.0.1")
        answer = self._client.transact_write_items(**parameters)
        if fault == "late":
            assert self._meanwhile is not None
            self._meanwhile()
        if fault in ("lost", "late"):
            raise ConnectionClosedError(endpoint_url="http://127.0.0.1")
        return answer


def test_an_end_is_one_though_its_answer_was_lost_and_the_session_has_expired_since(
    dynamodb_client: Any, sessions_table: Any
) -> None:
    def expire() -> None:
        key = {"PK": {"S": "SESSION#s1"}, "SK": {"S": "META"}}
        dynamodb_client.delete_item(TableName=TABLE, Key=key)

    sessions = Sessions(Faulty(dynamodb_client, ["ok", "late"], expire), TABLE)  # type: ignore[arg-type]
    sessions.start("s1", "c1", NOW_MS)
    sessions.disconnect("s1", NOW_MS + 1)
    assert items(sessions_table) == {}


def test_a_conversation(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS, retention_s=60)
    assert sessions.add_turn("s1", "customer", "Where is my order? 📦", NOW_MS + 1) == 1
    assert sessions.add_turn("s1", "assistant", "", NOW_MS + 2) == 2
    assert sessions.hand_off("s1", "refund", "agent-007", NOW_MS + 3) == "HANDOFF#1760000000003"
    assert sessions.add_turn("s1", "agent", "I'll look.", NOW_MS + 4) == 3
    sessions.disconnect("s1", NOW_MS + 5)

    stored = items(sessions_table)
    assert list(stored) == ["HANDOFF#1760000000003", "META", "TURN#00000001", "TURN#00000002", "TURN#00000003"]
    meta = stored["META"]
    assert (meta["status"], meta["turn_count"], meta["customer_id"]) == ("disconnected", 3, "c1")
    assert (meta["created_at_ms"], meta["updated_at_ms"], meta["ended_at_ms"]) == (NOW_MS, NOW_MS + 5, NOW_MS + 5)
    assert meta["retention_s"] == 60
    turn = stored["TURN#00000001"]
    assert zlib.decompress(turn["content_compressed"]).decode() == "Where is my order? 📦"
    assert (turn["role"], turn["turn_number"], turn["created_at_ms"]) == ("customer", 1, NOW_MS + 1)
    handoff = stored["HANDOFF#1760000000003"]
    assert (handoff["reason"], handoff["agent_id"], handoff["customer_id"]) == ("refund", "agent-007", "c1")


def test_an_unassigned_handoff_has_no_agent(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    key = sessions.hand_off("s1", "low_confidence", None, NOW_MS)
    assert "agent_id" not in items(sessions_table)[key]


def test_a_session_handed_off_twice_in_one_millisecond(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    first = sessions.hand_off("s1", "complaint", None, NOW_MS)
    second = sessions.hand_off("s1", "escalated", "agent-1", NOW_MS)
    assert second == "HANDOFF#1760000000001"
    assert [items(sessions_table)[key]["reason"] for key in (first, second)] == ["complaint", "escalated"]


def test_another_process_continues_a_session(dynamodb_client: Any, sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    sessions.add_turn("s1", "customer", "one", NOW_MS)
    other = Sessions(dynamodb_client, TABLE)
    assert other.add_turn("s1", "assistant", "two", NOW_MS) == 2
    assert sessions.add_turn("s1", "customer", "three", NOW_MS) == 3


def test_errors_are_named(sessions: Sessions) -> None:
    with pytest.raises(UnknownSession, match="start it first"):
        sessions.add_turn("s1", "customer", "hello", NOW_MS)
    with pytest.raises(UnknownSession):
        sessions.hand_off("s1", "refund", None, NOW_MS)
    with pytest.raises(UnknownSession):
        sessions.disconnect("s1", NOW_MS)
    sessions.start("s1", "c1", NOW_MS)
    with pytest.raises(SessionExists, match="another id"):
        sessions.start("s1", "c1", NOW_MS)
    sessions.disconnect("s1", NOW_MS)
    with pytest.raises(SessionEnded, match="disconnected"):
        sessions.add_turn("s1", "customer", "hello", NOW_MS)
    with pytest.raises(SessionEnded):
        sessions.hand_off("s1", "refund", None, NOW_MS)


def test_a_writer_learns_that_another_ended_the_session(
    dynamodb_client: Any, sessions: Sessions, sessions_table: Any
) -> None:
    sessions.start("s1", "c1", NOW_MS)
    Sessions(dynamodb_client, TABLE).disconnect("s1", NOW_MS)
    with pytest.raises(SessionEnded):
        sessions.add_turn("s1", "customer", "hello", NOW_MS)
    assert set(items(sessions_table)) == {"META"}


def test_ending_twice_keeps_the_first_end(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    sessions.disconnect("s1", NOW_MS + 1)
    sessions.disconnect("s1", NOW_MS + 2)
    assert items(sessions_table)["META"]["ended_at_ms"] == NOW_MS + 1


@pytest.mark.parametrize(
    "script",
    [["lost"], ["refused"], ["lost", "lost"], ["refused", "lost"], ["lost", "refused"]],
    ids="-".join,
)
def test_a_lost_answer_writes_nothing_twice(script: list[str], dynamodb_client: Any, sessions_table: Any) -> None:
    def faulty() -> Sessions:
        return Sessions(Faulty(dynamodb_client, script), TABLE)  # type: ignore[arg-type]

    faulty().start("s1", "c1", NOW_MS)
    assert faulty().add_turn("s1", "customer", "one", NOW_MS) == 1
    assert faulty().add_turn("s1", "assistant", "two", NOW_MS) == 2
    faulty().hand_off("s1", "refund", None, NOW_MS)
    faulty().disconnect("s1", NOW_MS + 1)

    stored = items(sessions_table)
    assert list(stored) == [f"HANDOFF#{NOW_MS}", "META", "TURN#00000001", "TURN#00000002"]
    assert (stored["META"]["turn_count"], stored["META"]["ended_at_ms"]) == (2, NOW_MS + 1)


def test_a_lost_answer_is_recognised_under_a_later_turn(
    dynamodb_client: Any, sessions: Sessions, sessions_table: Any
) -> None:
    sessions.start("s1", "c1", NOW_MS)
    client = Faulty(dynamodb_client, ["late"], lambda: sessions.add_turn("s1", "agent", "theirs", NOW_MS))
    mine = Sessions(client, TABLE)  # type: ignore[arg-type]
    assert mine.add_turn("s1", "customer", "mine", NOW_MS) == 1
    texts = [zlib.decompress(t["content_compressed"]) for key, t in items(sessions_table).items() if key != "META"]
    assert texts == [b"mine", b"theirs"]


def test_an_engine_that_stays_away_is_an_error(dynamodb_client: Any, sessions_table: Any) -> None:
    client = Faulty(dynamodb_client, ["refused"] * 1_000)
    sessions = Sessions(client, TABLE, retry_for_s=0.05)  # type: ignore[arg-type]
    with pytest.raises(EndpointConnectionError):
        sessions.start("s1", "c1", NOW_MS)


def test_an_error_that_no_retry_mends_is_raised_at_once(dynamodb_client: Any) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        Sessions(dynamodb_client, "no-such-table").start("s1", "c1", NOW_MS)


def test_a_turn_that_is_not_counted_is_an_error_and_no_endless_loop(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    sessions_table.put({"PK": "SESSION#s1", "SK": "TURN#00000001", "request_id": "a stranger's"})
    with pytest.raises(SessionError, match="counts 0 turns"):
        sessions.add_turn("s1", "customer", "hello", NOW_MS)


def test_concurrent_writers_of_one_conversation_share_and_skip_no_number(
    dynamodb_client: Any, sessions: Sessions, sessions_table: Any
) -> None:
    sessions.start("s1", "c1", NOW_MS)
    writers = [sessions, sessions, Sessions(dynamodb_client, TABLE)]
    with ThreadPoolExecutor(len(writers)) as threads:
        numbers = list(
            threads.map(lambda writer: [writer.add_turn("s1", "customer", str(n), NOW_MS) for n in range(20)], writers)
        )
    assert sorted(n for own in numbers for n in own) == list(range(1, 61))
    assert all(own == sorted(own) for own in numbers)
    assert items(sessions_table)["META"]["turn_count"] == 60
    assert len(items(sessions_table)) == 61
