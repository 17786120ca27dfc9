"""Replays conversations into the sessions table: several processes, each with several threads.

Every conversation belongs to one thread, which writes it from start to end over the DynamoDB protocol.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import Final

from demonstration.certain_writes import dynamodb_client
from demonstration.shares import Share
from manga_assist import conversations
from manga_assist.conversations import Conversation
from manga_assist.manifest import WrittenHandoff, WrittenSession, digest
from manga_assist.sessions import Sessions

RETENTION_S: Final = 86_400
SHORT_RETENTION_S: Final = 2
RETRY_FOR_S: Final = 60.0
MINIMUM_TURNS: Final = 10
AGENTS: Final = 7


@dataclass(frozen=True, slots=True)
class PlannedHandoff:
    """A hand-off after the turn of this number."""

    after_turn: int
    reason: str
    agent_id: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to a conversation besides its turns."""

    handoffs: tuple[PlannedHandoff, ...]
    expires: bool

    def writes(self, turns: int) -> int:
        """How many transactions the conversation takes: start, turns, hand-offs, end."""
        return turns + len(self.handoffs) + 2


def plan(index: int, turns: int) -> Plan:
    """The fate of conversation `index`: half are handed off, some twice, and an eighth expire soon.

    Of ten conversations two go to an assigned agent, one to nobody in particular, one is escalated at once,
    and one is handed to nobody first and escalated to an agent afterwards.
    """
    agent = f"agent-{index % AGENTS:03d}"
    middle, late = turns // 2, turns * 3 // 4
    handoffs = {
        0: (PlannedHandoff(middle, "customer_request", agent),),
        2: (PlannedHandoff(middle, "low_confidence", None),),
        4: (PlannedHandoff(late, "escalated", None),),
        6: (PlannedHandoff(late, "refund", agent),),
        8: (PlannedHandoff(middle, "complaint", None), PlannedHandoff(late, "escalated", agent)),
    }.get(index % 10, ())
    return Plan(handoffs, expires=index % 8 == 3 or index % 40 == 0)


def write_share(share: Share, written: Synchronized[int]) -> None:
    """Write the share's conversations and its manifest."""
    chosen = conversations.load(MINIMUM_TURNS, share.size)
    sessions = Sessions(
        dynamodb_client(share.endpoint_url, share.threads),
        share.table_name,
        retention_s=RETENTION_S,
        retry_for_s=RETRY_FOR_S,
    )
    with (
        share.manifest.open("w", encoding="utf-8") as manifest,
        ThreadPoolExecutor(share.threads) as threads,
    ):
        futures: list[Future[WrittenSession]] = [
            threads.submit(write_conversation, sessions, chosen[index], plan(index, len(chosen[index].turns)), written)
            for index in range(share.number, len(chosen), share.of)
        ]
        failed = [f for f in wait(futures, return_when=FIRST_EXCEPTION).done if f.exception() is not None]
        if failed:
            threads.shutdown(cancel_futures=True)
        manifest.writelines(f.result().to_line() for f in (failed or futures))


def write_conversation(
    sessions: Sessions, conversation: Conversation, fate: Plan, written: Synchronized[int]
) -> WrittenSession:
    """Write one conversation from start to end; return what was acknowledged."""
    session_id = conversation.id
    customer_id = conversation.turns[0].sender
    retention_s = SHORT_RETENTION_S if fate.expires else RETENTION_S
    sessions.start(session_id, customer_id, _now_ms(), retention_s=retention_s)
    _count(written)
    handoffs: list[WrittenHandoff] = []
    for number, turn in enumerate(conversation.turns, start=1):
        given = sessions.add_turn(session_id, turn.role, turn.text, _now_ms())
        if given != number:
            raise AssertionError(f"turn {number} of session {session_id} was given the number {given}")
        _count(written)
        for planned in fate.handoffs:
            if planned.after_turn == number:
                key = sessions.hand_off(session_id, planned.reason, planned.agent_id, _now_ms())
                handoffs.append(WrittenHandoff(key, planned.reason, planned.agent_id))
                _count(written)
    ended_at_ms = _now_ms()
    sessions.disconnect(session_id, ended_at_ms)
    _count(written)
    return WrittenSession(
        session_id=session_id,
        customer_id=customer_id,
        turns=tuple(digest(turn.role, turn.text) for turn in conversation.turns),
        handoffs=tuple(handoffs),
        ended_at_ms=ended_at_ms,
        retention_s=retention_s,
        expires=fate.expires,
    )


def writes_planned(chosen: Sequence[Conversation]) -> int:
    """How many transactions writing these conversations takes."""
    return sum(plan(index, len(c.turns)).writes(len(c.turns)) for index, c in enumerate(chosen))


def _count(written: Synchronized[int]) -> None:
    with written.get_lock():
        written.value += 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
