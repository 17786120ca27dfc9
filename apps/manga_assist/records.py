"""What analytics has of every change: a flat row. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from afterwrite import Change
from manga_assist import keys

COLUMNS: Final[Mapping[str, type]] = {
    "event_id": str,
    "event_name": str,
    "session_id": str,
    "item_type": str,
    "sk": str,
    "by_ttl": bool,
    "size_bytes": int,
    "at_ms": int,
    "role": str,
    "turn_number": int,
    "status": str,
    "old_status": str,
    "turn_count": int,
    "reason": str,
    "agent_id": str,
    "window_number": int,
    "summary_method": str,
    "summary_model": str,
    "summary_fallback": str,
    "summary_tokens": int,
}
"""The types of a row's fields."""


def analytics_row(change: Change) -> dict[str, Any]:
    """A flat row about the change; a turn's words stay out of it. An item that lacks a field has none here."""
    sort_key = change.keys["SK"]
    kind = keys.item_type(sort_key)
    value = change.before if change.new_image is None else change.after
    row: dict[str, Any] = {
        "event_id": change.id,
        "event_name": change.event_name,
        "session_id": keys.session_id_of(change.keys["PK"]),
        "item_type": kind,
        "sk": sort_key,
        "by_ttl": change.by_ttl,
        "size_bytes": change.size_bytes,
        "at_ms": change.created_at_ms,
    }
    if kind == "turn":
        row["role"] = value("role")
        row["turn_number"] = keys.turn_number(sort_key)
    elif kind == "meta":
        row["status"] = value("status")
        row["old_status"] = change.before("status")
        row["turn_count"] = value("turn_count")
    elif kind == "handoff":
        row["reason"] = value("reason")
        row["agent_id"] = value("agent_id")
    elif kind == "summary":
        row["window_number"] = keys.summary_number(sort_key)
        row["summary_method"] = value("method")
        if (model := value("model")) is not None:
            fallback = value("fallback")
            row["summary_model"] = model
            row["summary_fallback"] = None if fallback is None else fallback.partition(":")[0]
            row["summary_tokens"] = value("input_tokens") + value("output_tokens")
    return row
