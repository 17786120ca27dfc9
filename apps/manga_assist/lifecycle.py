"""What a session's change of status leads to: an event, counters, and the clean-up after its end.

An event can come more than once, from a retry or a replay of the archive, so each counts under its own id:
the id of the change that it tells of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from afterwrite import Change, Put, TransactionCanceled, Update
from afterwrite.summaries import Summarizer
from manga_assist import keys
from manga_assist.summaries import Table, complete

STATUS_CHANGED: Final = "SessionStatusChanged"
ACTIVE_SESSIONS: Final = "active_sessions"
HANDOFFS: Final = "handoffs"

MARKER_DAYS: Final = 400
"""How long an event's marker is kept: longer than any archive keeps the event."""

_TRANSACTION_ITEMS_MAX: Final = 100
_CLEAN_UP_ROUNDS_MAX: Final = 1_000


def status_change(change: Change) -> dict[str, Any]:
    """The detail of the event for a META item whose status was set or changed."""
    meta = change.new or {}
    return {
        "event_id": change.id,
        "session_id": keys.session_id_of(change.keys["PK"]),
        "old_status": change.old["status"] if change.old else "none",
        "new_status": meta["status"],
        "customer_id": meta["customer_id"],
        "retention_s": int(meta["retention_s"]),
        "at_ms": int(meta["updated_at_ms"]),
    }


def pattern(new_status: str) -> dict[str, Any]:
    """The event pattern of a change to this status."""
    return {"detail-type": [STATUS_CHANGED], "detail": {"new_status": [new_status]}}


class Context(Protocol):
    """What counting needs of a function's context."""

    @property
    def now_ms(self) -> int:
        """The time of the invocation."""

    def transact(self, writes: Sequence[Any]) -> Any:
        """Make all writes, or raise TransactionCanceled and make none."""


def count(context: Context, operations: Any, counter: str, event: Mapping[str, Any], step: int) -> bool:
    """Add `step` to `counter` for this event, once however often the event comes; return whether it counted.

    The marker that remembers the event and the addition are one transaction.
    """
    marker = {
        "PK": f"EVENT#{event['detail']['event_id']}",
        "SK": counter,
        "ttl": context.now_ms // 1000 + MARKER_DAYS * 86_400,
    }
    add = Update(
        operations,
        {"PK": "COUNTERS", "SK": counter},
        "ADD #value :step",
        names={"#value": "value"},
        values={":step": step},
    )
    try:
        context.transact([Put(operations, marker, condition="attribute_not_exists(SK)"), add])
    except TransactionCanceled as error:
        if error.reasons[0]["Code"] == "ConditionalCheckFailed":
            return False
        raise
    return True


def clean_up(context: Context, sessions: Any, table: Table, event: Mapping[str, Any], summarizer: Summarizer) -> int:
    """After a session's end: complete its summaries, then let all its items expire; return how many were set.

    META gets its `ttl` first, which says that the summaries are complete (see `complete`), so that an attempt that
    begins again after some items expired makes no summary of a window with holes.

    Nothing is added to a session that has ended and has all its summaries: turns and hand-offs are conditional on its
    status, and a summary on there being none. So what one read finds, and the summaries that it lacked, is all there
    is.
    """
    detail = event["detail"]
    session_id = detail["session_id"]
    items = list(table.query(keys.partition(session_id)))
    completed = complete(table, items, summarizer, context.now_ms)
    unset = [item["SK"] for item in items if "ttl" not in item] + completed
    names = {"#ttl": "ttl"}
    values = {":at": -(-int(detail["at_ms"]) // 1000) + int(detail["retention_s"])}
    total = 0
    for _ in range(_CLEAN_UP_ROUNDS_MAX):
        if not unset:
            return total
        unset.sort(key=lambda sort_key: sort_key != keys.META)  # HANDOFF# sorts before META.
        writes = [
            Update(
                sessions,
                {"PK": keys.partition(session_id), "SK": sort_key},
                "SET #ttl = :at",
                condition="attribute_exists(SK)",
                names=names,
                values=values,
            )
            for sort_key in unset[:_TRANSACTION_ITEMS_MAX]
        ]
        try:
            context.transact(writes)
        except TransactionCanceled as error:
            # An item that expired in the meantime must not be written anew: look again at what is left.
            if not all(reason["Code"] in ("None", "ConditionalCheckFailed") for reason in error.reasons):
                raise
        else:
            total += len(writes)
            if len(writes) == len(unset):
                return total
        unset = _without_ttl(table, session_id)
    raise RuntimeError(f"items of session {session_id!r} keep appearing after its end: something still writes it")


def _without_ttl(table: Table, session_id: str) -> list[str]:
    unset = table.query(
        keys.partition(session_id), attributes=["SK"], condition="attribute_not_exists(#ttl)", names={"#ttl": "ttl"}
    )
    return [item["SK"] for item in unset]
