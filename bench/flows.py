"""Changes a second through all flows of MangaAssist, from the first write to the last effect.

The writes are those of its sessions API for real conversations, recorded beforehand and sent over 128 connections,
each conversation in order. Ours carries every flow: summaries, analytics, audit, hand-offs with their three
subscribers, lifecycle events with their targets. The peer carries one: stream, Lambda, SQS.
"""

from __future__ import annotations

import base64
import itertools
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import orjson
from bench import engine
from bench.draining import Drained, rounds, wait_until
from bench.load import Load, in_own_process, send
from bench.ministack_flow import ministack_flow
from bench.report import Figure
from bench.wire import System, request_bytes

from afterwrite.inspection import open_data
from manga_assist import conversations
from manga_assist.conversations import Conversation
from manga_assist.load import Plan, plan
from manga_assist.sessions import Sessions

ROUNDS = 3
CONNECTIONS = 128
# Some 230,000 changes, which take 20 s and more: the second in which the last rows are gathered is a small part of it.
CONVERSATIONS = 2400
PEER_CONVERSATIONS = 80
TABLE = "manga-assist-sessions"
APP = Path(__file__).resolve().parents[1] / "apps" / "manga_assist" / "app.py"
PEER = "ministack, one flow (in memory)"
# Analytics rows are gathered for this long before a file is written; they count as effects only then.
BUFFER_S = 1


def measure(_seconds: float) -> Figure:
    """Alternating rounds over both systems, each with a fresh engine; the writes set how long one takes."""
    figure = Figure("changes/s through all flows of MangaAssist, until the last effect")
    return rounds(figure, ROUNDS, {engine.NAME: _ours, PEER: _peer})


def _ours() -> Drained:
    with engine.afterwrite(APP, {"MANGA_ASSIST_BUFFER_S": str(BUFFER_S)}) as running:
        load = in_own_process(replay, running.system, CONVERSATIONS)
        with open_data(running.data) as view:
            ended = wait_until(view.idle)
            changes = sum(1 for _ in view.changes(TABLE))
    return Drained(load, changes, ended - load.began_ns / 1e9)


def _peer() -> Drained:
    with ministack_flow(TABLE, batch_size=1000) as flow:
        load = in_own_process(replay, flow.system, PEER_CONVERSATIONS)
        changes = sum(writes for _operation, _body, writes in _recorded_all(PEER_CONVERSATIONS))
        ended = wait_until(lambda: flow.waiting() >= changes)
    return Drained(load, changes, ended - load.began_ns / 1e9)


def replay(system: System, count: int) -> Load:
    """Send the writes of `count` conversations, each conversation in order."""
    sequences = [
        [request_bytes(system, operation, body) for operation, body, _writes in recorded]
        for recorded in _recorded(count)
    ]
    return send(system, sequences, connections=CONNECTIONS)


def _recorded_all(count: int) -> Iterator[tuple[str, bytes, int]]:
    for recorded in _recorded(count):
        yield from recorded


def _recorded(count: int) -> Iterator[list[tuple[str, bytes, int]]]:
    """For each conversation its requests: the operation, the body, and how many items it writes."""
    for index, conversation in enumerate(conversations.load(10, count)):
        recorder = Recorder()
        _write(Sessions(cast("Any", recorder), TABLE), conversation, plan(index, len(conversation.turns)))
        yield recorder.requests


def _write(sessions: Sessions, conversation: Conversation, fate: Plan) -> None:
    """Start, turns, hand-offs, end; each a millisecond after the one before, as no two hand-offs may coincide."""
    clock_ms = itertools.count(time.time_ns() // 1_000_000)
    sessions.start(conversation.id, conversation.turns[0].sender, next(clock_ms))
    for number, turn in enumerate(conversation.turns, start=1):
        sessions.add_turn(conversation.id, turn.role, turn.text, next(clock_ms))
        for planned in fate.handoffs:
            if planned.after_turn == number:
                sessions.hand_off(conversation.id, planned.reason, planned.agent_id, next(clock_ms))
    sessions.disconnect(conversation.id, next(clock_ms))


class Recorder:
    """Stands where boto3's client stands, and keeps what it is asked to send; every transaction succeeds."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, bytes, int]] = []

    def transact_write_items(self, **parameters: Any) -> dict[str, Any]:
        body = {**parameters, "ClientRequestToken": str(uuid.uuid4())}
        encoded = orjson.dumps(body, default=_base64)
        self.requests.append(("TransactWriteItems", encoded, len(parameters["TransactItems"])))
        return {}


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"expected what a request holds, got {type(value).__name__}")
