"""The app of the fault tests: every change goes once to each kind of embedded service."""

from __future__ import annotations

from typing import Any

from afterwrite import App, Change, Context

app = App("faults")

things = app.table("things", partition_key="pk", sort_key="sk")
counts = app.table("counts", partition_key="pk")
out = app.queue("out")
bus = app.bus("events", archive_days=1)
facts = app.delivery_stream("facts", buffer_seconds=0.2)
trail = app.audit_log("trail")


@app.function(retries=5, backoff_s=0.05)
def count(request: Any, context: Context) -> int:
    """Count how often each change was seen; at least once."""
    return int(context.table(counts).update({"pk": request["id"]}, "ADD n :one", values={"one": 1})["n"])


@things.on()
def spread(change: Change) -> Any:
    """One effect on each service, told apart by the change's id."""
    return [
        out.send({"id": change.id}),
        bus.put("Written", id=change.id),
        facts.put(change=change.id),
        trail.append(change=change.id, new=change.new, old=change.old),
        count.later(id=change.id),
    ]
