"""Each write sends a message; its consumer notes when it came."""

from __future__ import annotations

import time
from typing import Any

from afterwrite import INSERT, App, Change, Context, Message

app = App("bench-latency")
turns = app.table("bench", partition_key="PK", sort_key="SK")
effects = app.queue("bench-effects")


@turns.on(INSERT)
def announce(change: Change) -> Any:
    """Send the number of the write."""
    return effects.send({"number": change.keys["SK"]})


@effects.consumer(concurrency=32)
def receive(message: Message, context: Context) -> None:
    """Note the number and the time, in nanoseconds since the epoch."""
    came_ns = time.time_ns()
    with (context.directory("receipts") / "receipts").open("a") as receipts:
        receipts.write(f"{message.body['number']} {came_ns}\n")
