"""Reads every store of a data directory back: tables and logs with `open_data`, the lake with DuckDB, mail as files."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from afterwrite import Change
from manga_assist import app, keys
from manga_assist.manifest import digest
from manga_assist.reconcile import Found, LoggedChange, StatusEvent, StoredItem

CONSUMERS = {
    "agent-dashboard-queue": "update_dashboard",
    "customer-notification-queue": "mail_customer",
    "escalation-queue": "open_escalation",
}


def read(data: Any, outbox: Path) -> Found:
    """What the stores of `data`, a view made by `open_data`, and the outbox hold."""
    operations = list(data.items(app.operations.name))
    depths: Mapping[str, tuple[int, int]] = data.depths()
    log = app.audit.name
    report = data.verify_audit(log)
    return Found(
        changes=[logged_change(change) for change in data.changes(app.sessions.name)],
        items=[stored_item(item) for item in data.items(app.sessions.name)],
        analytics=list(analytics_rows(data.lake(app.analytics.name))),
        audited=[line["entry"]["event_id"] for line in data.audit_entries(log)],
        audit_verified=report.entries,
        audit_faults=[str(fault) for fault in report.faults],
        completions={
            queue: [completion.message_id for completion in data.completions(consumer)]
            + [message.id for message in data.messages(queue)]
            for queue, consumer in CONSUMERS.items()
        },
        dashboard=[(row["agent_id"], row["SK"]) for row in operations if row["PK"].startswith("DASHBOARD#")],
        mails=[path.stem for path in outbox.glob("*.eml")],
        escalations=[row["SK"] for row in operations if row["PK"] == "ESCALATIONS" and row["state"] == "open"],
        offered=[row["session_id"] for row in operations if row["PK"] == "WAITING_SESSIONS"],
        archived=[status_event(event["detail"]) for event in data.archived_events(app.bus.name)],
        event_rows=list(event_rows(data.lake(app.archive.name))),
        counters={row["SK"]: int(row["value"]) for row in operations if row["PK"] == "COUNTERS"},
        markers=[(row["PK"].removeprefix("EVENT#"), row["SK"]) for row in operations if row["PK"].startswith("EVENT#")],
        dead_letters={name: sum(depth) for name, depth in depths.items() if name.endswith("-dead-letters")},
        indexed=[(document["session_id"], document["window"]) for _, document in data.documents(app.found.name)],
        leftovers={name: sum(depth) for name, depth in depths.items() if not name.endswith("-dead-letters")},
    )


def logged_change(change: Change) -> LoggedChange:
    """The change with what tells its content."""
    sort_key = change.keys["SK"]
    return LoggedChange(
        event_id=change.id,
        event_name=change.event_name,
        sequence_number=int(change.sequence_number or 0),
        session_id=keys.session_id_of(change.keys["PK"]),
        sort_key=sort_key,
        by_ttl=change.by_ttl,
        fact=_fact(change, sort_key),
    )


def _fact(change: Change, sort_key: str) -> Any:
    if sort_key == keys.META:
        return ((change.old or {}).get("status", "none"), (change.new or {}).get("status", "none"))
    if change.event_name != "INSERT" or change.new is None:
        return None
    if sort_key.startswith(keys.TURN):
        text = zlib.decompress(change.new["content_compressed"]).decode("utf-8")
        return digest(change.new["role"], text)
    return tuple(change.new["turns"]) if sort_key.startswith(keys.SUMMARY) else None


def stored_item(item: Mapping[str, Any]) -> StoredItem:
    """The item's keys and when it expires."""
    ttl = item.get("ttl")
    return StoredItem(keys.session_id_of(item["PK"]), item["SK"], None if ttl is None else int(ttl))


def status_event(detail: Mapping[str, Any]) -> StatusEvent:
    """The event whose detail this is."""
    return StatusEvent(detail["event_id"], detail["session_id"], detail["old_status"], detail["new_status"])


def analytics_rows(lake: Path) -> Iterator[tuple[str, str, str]]:
    """Event id, event name and item type of every analytics row."""
    yield from _query(lake, "event_id, event_name, item_type")


def event_rows(lake: Path) -> Iterator[StatusEvent]:
    """The lifecycle events in the lake."""
    for (detail,) in _query(lake, "detail"):
        yield status_event(json.loads(detail))


def _query(lake: Path, columns: str) -> list[tuple[Any, ...]]:
    if not any(lake.rglob("*.parquet")):
        return []
    with duckdb.connect() as connection:
        rows: list[tuple[Any, ...]] = connection.execute(
            f"SELECT {columns} FROM read_parquet(?, union_by_name = true, hive_partitioning = true)",  # noqa: S608
            [f"{lake}/**/*.parquet"],
        ).fetchall()
    return rows
