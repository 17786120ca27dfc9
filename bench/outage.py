"""A target that is down for a minute while 2,000 changes a second come in: memory, and how fast the rest drains.

The function that calls the target fails with a refused connection while it is down. What waits must wait on disk: the
process's own memory (`RssAnon`) may grow by 50 MB. When the target is back, what has waited must be worked off at the
cost of a shorter backlog, in processor time, which does not depend on who else is busy.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.cache import CACHE
from bench.report import Figure

WRITES_S = 2_000
OUTAGE_S = 60.0
TICK_S = 0.1
KEYS = 5_000
# So many that the store takes a checkpoint meanwhile, as it does again and again while more is worked off.
REFERENCE = 60_000
GROWTH_MB_MAX = 50.0
SLOWER_MAX = 0.2
DRAINED_S_MAX = 600.0


def measure(_seconds: float) -> Figure:
    """One outage, in a process of its own."""
    figure = Figure(f"A target down for {OUTAGE_S:.0f} s at {WRITES_S:,} writes/s")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="outage-") as directory:
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=_outage, args=(Path(directory) / "data", sender))
        process.start()
        sender.close()
        measured, faults = receiver.recv()
        process.join()
    for fault in faults:
        figure.fault(fault)
    figure.add("afterwrite", measured)
    if measured["MB more memory"] > GROWTH_MB_MAX:
        figure.fault(f"expected at most {GROWTH_MB_MAX:.0f} MB more memory")
    if measured["drained/s of processor time"] < measured["shorter backlog's/s of processor time"] * (1 - SLOWER_MAX):
        figure.fault(f"expected to drain at most {SLOWER_MAX:.0%} slower than a shorter backlog")
    return figure


def _outage(data: Path, sender: Any) -> None:
    from afterwrite import App, open_engine

    app = App("outage")
    things = app.table("things", partition_key="pk", sort_key="number")
    is_up = threading.Event()
    calls = done = 0

    @app.function(concurrency=8)
    def call(_request: Any, _context: Any) -> None:
        nonlocal calls, done
        calls += 1
        if not is_up.is_set():
            raise ConnectionRefusedError("down")
        done += 1

    @things.on()
    def route(change: Any) -> Any:
        return call.later(pk=change.keys["pk"], number=change.keys["number"])

    faults: list[str] = []
    with open_engine(data, app) as engine:
        table = engine.table(things)

        def drain(count: int) -> float:
            """Messages a second of processor time, from now until `count` of them are done."""
            before, began_s = done, time.process_time()
            is_up.set()
            _wait(lambda: done >= count)
            return (count - before) / (time.process_time() - began_s)

        # The same way: the changes are routed first, then the messages are worked off.
        table.put_many(_items(0, REFERENCE))
        _wait(lambda: engine.reader().position("things") >= REFERENCE)
        reference = drain(REFERENCE)
        is_up.clear()
        calls = 0
        before_mb, written = _own_memory_mb(), REFERENCE
        deadline_s = time.monotonic() + OUTAGE_S
        while (left_s := deadline_s - time.monotonic()) > 0:
            began_s = time.monotonic()
            due = REFERENCE + int((OUTAGE_S - left_s) * WRITES_S)
            written += table.put_many(_items(written, due))
            time.sleep(max(0.0, TICK_S - (time.monotonic() - began_s)))
        calls_down = calls
        _wait(lambda: engine.reader().position("things") >= written)
        growth_mb = _own_memory_mb() - before_mb
        waited = written - REFERENCE
        began_s = time.monotonic()
        drained = drain(written)
        if next(iter(engine.parked().entries()), None) is not None:
            faults.append("messages were given up because the target was down")
        sender.send(
            (
                {
                    "MB more memory": growth_mb,
                    "messages that waited": waited,
                    "calls while down": calls_down,
                    "drained/s": waited / (time.monotonic() - began_s),
                    "drained/s of processor time": drained,
                    "shorter backlog's/s of processor time": reference,
                },
                faults,
            )
        )


def _items(start: int, end: int) -> Iterator[dict[str, str]]:
    return ({"pk": f"key-{number % KEYS}", "number": f"{number:08}", "text": "x" * 200} for number in range(start, end))


def _own_memory_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("expected RssAnon in /proc/self/status: this figure needs Linux")


def _wait(condition: Any) -> None:
    deadline_s = time.monotonic() + DRAINED_S_MAX
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"it did not come about within {DRAINED_S_MAX:.0f} s")
        time.sleep(0.01)
