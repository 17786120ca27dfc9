"""What a write and a read cost as the data grows, what the process's own memory does, and how long opening takes.

One table with a change log grows to each size in turn; then samples of each operation are timed, on random keys of
all that is there, and the fastest of them counts. Costs are processor time of the whole process per operation, so that
they say what grows and not how fast the disk is. The memory is the process's own (`RssAnon`): pages of the mapped file
are the system's cache.
"""

from __future__ import annotations

import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.cache import CACHE
from bench.report import Figure, progress

SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 6
SAMPLE = 3_000
SAMPLES = 5
COST_GROWTH_MAX = 1.5
MEMORY_GROWTH_MIB_MAX = 64
FILE_BYTES = 5 << 30
OPEN_S_MAX = 1.0

_OPEN = """
import sys, time
from pathlib import Path
from afterwrite.inspection import open_data
import afterwrite.wiring
started = time.perf_counter()
with afterwrite.open_engine(Path(sys.argv[1])) as engine:
    took = time.perf_counter() - started
print(took)
"""


def measure(_seconds: float) -> Figure:
    """All sizes, in a process of its own."""
    figure = Figure(f"Growth: microseconds of processor time an operation, items of ~{len(TEXT) + 100} bytes")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="growth-") as directory:
        data = Path(directory) / "data"
        receiver, sender = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("spawn").Process(target=_grow, args=(data, sender))
        process.start()
        sender.close()
        costs: list[dict[str, float]] = []
        for size in SIZES:
            costs.append(receiver.recv())
            figure.add(f"{size:,} items", costs[-1])
        process.join()
        _judge(figure, costs)
        stored = (data / "store" / "data.mdb").stat().st_size
        opening = subprocess.run([sys.executable, "-c", _OPEN, str(data)], capture_output=True, text=True, check=True)
        open_s = float(opening.stdout)
        progress(f"starting an engine on {stored / (1 << 30):.1f} GiB takes {open_s:.3f} s")
        if open_s > OPEN_S_MAX or stored < FILE_BYTES:
            figure.fault(
                f"starting an engine on {stored:,} bytes takes {open_s:.2f} s, at most {OPEN_S_MAX} is expected"
            )
    return figure


def _judge(figure: Figure, costs: list[dict[str, float]]) -> None:
    for measure_name in ("put", "get", "change read"):
        growth = max(cost[measure_name] for cost in costs) / costs[0][measure_name]
        progress(f"{measure_name}: at most {growth:.2f} times the cost at up to {SIZES[-1] // SIZES[0]} times the size")
        if growth > COST_GROWTH_MAX:
            figure.fault(f"{measure_name} costs {growth:.2f} times as much, at most {COST_GROWTH_MAX} is expected")
    grown_mib = costs[-1]["memory MiB"] - costs[0]["memory MiB"]
    if grown_mib > MEMORY_GROWTH_MIB_MAX:
        figure.fault(f"the memory grew by {grown_mib:.0f} MiB, at most {MEMORY_GROWTH_MIB_MAX} are expected")


def _grow(data: Path, sender: Any) -> None:
    from afterwrite import App, open_engine

    app = App("growth")
    table = app.table("things", partition_key="pk", sort_key="sk")
    source = random.Random(7)
    with open_engine(data, app) as engine:
        things = engine.table(table)
        reader = engine.reader()
        count = 0
        for size in SIZES:
            things.put_many(_items(count, size))
            count = size
            sender.send(
                {
                    "put": _cost(lambda: things.put_many(_items_at(source.sample(range(size), SAMPLE), "again"))),  # noqa: B023
                    "get": _cost(lambda: [things.get(_key(source.randrange(size))) for _ in range(SAMPLE)]),  # noqa: B023
                    "change read": _cost(lambda: _read_changes(reader, source.randrange(size // 2))),  # noqa: B023
                    "memory MiB": _own_memory_mib(),
                }
            )


def _cost(action: Callable[[], object]) -> float:
    """Microseconds of processor time of this process, an operation, in the fastest sample: others were disturbed."""
    action()
    took: list[float] = []
    for _ in range(SAMPLES):
        started = time.process_time()
        action()
        took.append(time.process_time() - started)
    return min(took) / SAMPLE * 1e6


def _key(number: int) -> dict[str, Any]:
    return {"pk": f"SESSION#{number // 50:08d}", "sk": f"TURN#{number:09d}"}


def _items(first: int, last: int) -> Iterator[dict[str, Any]]:
    return ({**_key(number), "text": TEXT, "number": number} for number in range(first, last))


def _items_at(numbers: list[int], note: str) -> Iterator[dict[str, Any]]:
    stamp = time.perf_counter_ns()
    return ({**_key(number), "text": TEXT, "number": number, "note": f"{note}{stamp}"} for number in numbers)


def _read_changes(reader: Any, after: int) -> int:
    return sum(len(change.new) for _, change in reader.positioned_changes("things", after, SAMPLE))


def _own_memory_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0
