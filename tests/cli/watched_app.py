"""The app that the command line's tests watch: each outcome that a change can have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from afterwrite import INSERT, App, Change, Context, prefix

# A function fails until this file is there; a test makes it.
GATE = Path(__file__).with_name("gate")

app = App("watched")
orders = app.table("orders", partition_key="PK", sort_key="SK")
outside = app.queue("outside")
letters = app.queue("letters")
topic = app.topic("news")
topic.subscribe(letters, filter_policy={"kind": ["letter"]})
bus = app.bus("events", archive_days=1)
lake = app.delivery_stream("lake", buffer_seconds=0.1, key="key")
slow_lake = app.delivery_stream("slow-lake", buffer_seconds=2)
audit = app.audit_log("trail")


@app.function()
def succeed(request: Any, context: Context) -> None:
    """Does it at once."""


@app.function(retries=1, backoff_s=0.01)
def fail(request: Any, context: Context) -> None:
    """Never does it; what it says would steer a terminal."""
    raise ValueError("no \x1b[31mluck")


@app.function(retries=1_000, backoff_s=0.001)
def wait_for_gate(request: Any, context: Context) -> None:
    """Does it once the gate is open."""
    if not GATE.exists():
        raise ValueError("the gate is shut")


@orders.on(INSERT, sort_key=prefix("good"))
def good(change: Change) -> Any:
    """Something for each kind of target."""
    return [
        succeed.later(key=change.keys["PK"]),
        outside.send({"key": change.keys["PK"]}),
        topic.publish("unheard", attributes={"kind": "parcel"}),
        bus.put("Ordered", key=change.keys["PK"]),
        lake.put(key=change.keys["PK"]),
        audit.append(key=change.keys["PK"]),
    ]


@orders.on(INSERT, sort_key=prefix("kept"))
def keep(change: Change) -> Any:
    """Waits for its file."""
    return slow_lake.put(key=change.keys["PK"])


@orders.on(INSERT, sort_key=prefix("bad"))
def bad(change: Change) -> Any:
    """Ends as a dead letter."""
    return fail.later(key=change.keys["PK"], card="4111")


@orders.on(INSERT, sort_key=prefix("park"))
def park(change: Change) -> Any:
    """Fails as a route."""
    raise KeyError("missing")


@orders.on(INSERT, sort_key=prefix("gated"))
def gated(change: Change) -> Any:
    """Done when a test lets it."""
    return wait_for_gate.later(key=change.keys["PK"])


bus.rule("ordered", {"detail-type": ["Ordered"]}, to=[succeed])
