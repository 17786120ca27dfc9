"""What the replay makes happen to the conversations."""

from __future__ import annotations

import multiprocessing
from typing import Any

import pytest

from manga_assist import app, conversations, load, manifest
from manga_assist.sessions import Sessions


def test_every_kind_of_session_occurs() -> None:
    plans = [load.plan(index, 20) for index in range(520)]
    kinds = {tuple((h.reason, h.agent_id is not None) for h in plan.handoffs) for plan in plans}
    assert kinds == {
        (),
        (("customer_request", True),),
        (("low_confidence", False),),
        (("escalated", False),),
        (("refund", True),),
        (("complaint", False), ("escalated", True)),
    }
    assert 50 <= sum(plan.expires for plan in plans) <= 100
    assert any(plan.expires and plan.handoffs for plan in plans)


@pytest.mark.parametrize("turns", [10, 11, 79, 80])
def test_handoffs_fall_within_the_conversation(turns: int) -> None:
    for index in range(10):
        assert all(1 <= h.after_turn <= turns for h in load.plan(index, turns).handoffs)


def test_a_conversation_is_written_as_planned(dynamodb_client: Any, sessions_table: Any) -> None:
    conversation = conversations.load(10, 1)[0]
    fate = load.plan(8, len(conversation.turns))
    written = multiprocessing.Value("q", 0)
    sessions = Sessions(dynamodb_client, app.sessions.name)

    record = load.write_conversation(sessions, conversation, fate, written)

    assert written.value == fate.writes(len(conversation.turns)) == len(conversation.turns) + 4
    items = {item["SK"]: item for item in sessions_table.query(f"SESSION#{conversation.id}")}
    assert len(items) == len(conversation.turns) + 3
    assert [h.sort_key for h in record.handoffs] == [key for key in items if key.startswith("HANDOFF#")]
    assert record.turns == tuple(manifest.digest(t.role, t.text) for t in conversation.turns)
    assert record.status_changes == (("none", "active"), ("active", "handoff"), ("handoff", "disconnected"))
    assert items["META"]["retention_s"] == record.retention_s == load.RETENTION_S
