"""A replay keeps each key's order: in a function of many threads whose attempts fail, while new changes are made."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from afterwrite import App, Change, Context, open_engine
from afterwrite.store import replays
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.replays import Replay
from engine_process import wait_until

KEYS, EVENTS = 6, 30


def test_keys_events_come_in_order_one_at_a_time_whatever_fails(tmp_path: Path) -> None:
    app = App("ordered")
    table, bus = app.table("things", partition_key="pk"), app.bus("events", archive_days=1)
    lock = threading.Lock()
    seen: dict[tuple[str, str | None], list[int]] = defaultdict(list)
    running: set[str] = set()
    failed: set[str] = set()

    @app.function(concurrency=8, retries=3)
    def note(request: Any, context: Context) -> None:
        key, replay = request["detail"]["pk"], request.get("replay-name")
        with lock:
            assert key not in running
            running.add(key)
        try:
            if context.invocation_id not in failed and request["detail"]["n"] % 4 == 1:
                failed.add(context.invocation_id)
                raise ConnectionError("once")
            with lock:
                seen[key, replay].append(request["detail"]["n"])
        finally:
            running.discard(key)

    bus.rule("all", {"source": ["ordered"]}, to=[note])

    @table.on()
    def announce(change: Change) -> Any:
        assert change.new is not None
        return bus.put("Written", pk=change.keys["pk"], n=int(change.new["n"]))

    with open_engine(tmp_path, app) as engine:
        things = engine.table(table)

        def write(numbers: range) -> None:
            for number in numbers:
                for key in range(KEYS):
                    things.put({"pk": str(key), "n": number})

        def events(replay: str | None) -> int:
            with lock:
                return sum(len(numbers) for (_, of), numbers in seen.items() if of == replay)

        write(range(EVENTS))
        wait_until(lambda: events(None) == KEYS * EVENTS)
        until_ms = engine._environment.now_ms() + 1

        def start(transaction: WriteTransaction) -> None:
            replays.start(transaction, Replay("again", "events", 0, until_ms, transaction.now_ms))

        engine._environment.write(start)
        write(range(EVENTS, EVENTS + 10))
        wait_until(lambda: events("again") == KEYS * EVENTS and events(None) == KEYS * (EVENTS + 10))
    for key in map(str, range(KEYS)):
        assert seen[key, "again"] == list(range(EVENTS))
        assert seen[key, None] == list(range(EVENTS + 10))
