"""What a write and a read cost as the data grows, what the process's own memory does, and how long opening takes.

Each size is a table with a change log in a directory and a process of its own. Once all of them are loaded, and what
was loaded is on the disk, rounds of the same operations alternate among them, on random keys of all that is there. A
put replaces an item by one as long, so that no size splits more pages than another.

Costs are processor time of the whole process per operation, so that they say what grows and not how fast the disk is.
A round's puts count with what brings their pages to the disk: it is over when a checkpoint holds the last of them.
The memory is the process's own (`RssAnon`): pages of the mapped file are the system's cache. Where that has lost some
of them, a put waits for the disk and costs more; `faults a put` says how often it did.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from bench.cache import CACHE
from bench.report import Figure, progress

SIZES = (10_000, 100_000, 1_000_000, 5_000_000)
TEXT = "It was the best of times, it was the worst of times, it was the age of wisdom. " * 6
STAMP_DIGITS = 20
ROUNDS = 5
SAMPLE = 3_000
PUT_SAMPLES = 4
LOADED_TOGETHER = 100_000
SETTLED_S_MAX = 120.0
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
    """All sizes, each in a process of its own."""
    figure = Figure(f"Growth: microseconds of processor time an operation, items of ~{len(TEXT) + 120} bytes")
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="growth-") as directory:
        with ExitStack() as stack:
            tables = [stack.enter_context(_Table(Path(directory) / str(size), size)) for size in SIZES]
            for _ in range(ROUNDS):
                for table in tables:
                    figure.add(table.name, table.round())
        _judge(figure)
        largest = tables[-1].data
        stored = (largest / "store" / "data.mdb").stat().st_size
        opening = subprocess.run(
            [sys.executable, "-c", _OPEN, str(largest)], capture_output=True, text=True, check=True
        )
        open_s = float(opening.stdout)
        progress(f"starting an engine on {stored / (1 << 30):.1f} GiB takes {open_s:.3f} s")
        if open_s > OPEN_S_MAX or stored < FILE_BYTES:
            figure.fault(
                f"starting an engine on {stored:,} bytes takes {open_s:.2f} s, at most {OPEN_S_MAX} is expected"
            )
    return figure


class _Table:
    """A loaded table whose process does a round of operations when it is asked to."""

    def __init__(self, data: Path, size: int) -> None:
        self.data = data
        self.name = f"{size:,} items"
        self._pipe, asked = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(data, size, asked))
        self._process.start()
        asked.close()
        self._pipe.recv()
        progress(f"{self.name} are loaded")

    def round(self) -> dict[str, float]:
        self._pipe.send(True)
        costs: dict[str, float] = self._pipe.recv()
        return costs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(False)
        self._process.join()


def _judge(figure: Figure) -> None:
    costs = [figure.medians(name) for name in figure.rounds]
    for measure_name in ("put", "get", "change read"):
        growth = max(cost[measure_name] for cost in costs) / costs[0][measure_name]
        progress(f"{measure_name}: at most {growth:.2f} times the cost at up to {SIZES[-1] // SIZES[0]} times the size")
        if growth > COST_GROWTH_MAX:
            figure.fault(f"{measure_name} costs {growth:.2f} times as much, at most {COST_GROWTH_MAX} is expected")
    grown_mib = costs[-1]["memory MiB"] - costs[0]["memory MiB"]
    if grown_mib > MEMORY_GROWTH_MIB_MAX:
        figure.fault(f"the memory grew by {grown_mib:.0f} MiB, at most {MEMORY_GROWTH_MIB_MAX} are expected")


def _serve(data: Path, size: int, asked: Any) -> None:
    from afterwrite import App, open_engine

    app = App("growth")
    table = app.table("things", partition_key="pk", sort_key="sk")
    source = random.Random(7)
    with open_engine(data, app) as engine:
        things = engine.table(table)
        reader = engine.reader()

        def put() -> None:
            for _ in range(PUT_SAMPLES):
                things.put_many(_items(source.sample(range(size), SAMPLE)))
            _settle(engine._environment, data / "store")

        def get() -> None:
            for _ in range(SAMPLE):
                things.get(_key(source.randrange(size)))

        for first in range(0, size, LOADED_TOGETHER):
            things.put_many(_items(range(first, min(first + LOADED_TOGETHER, size))))
        _settle(engine._environment, data / "store")
        asked.send(None)
        while asked.recv():
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt
            cost = _cost(put, PUT_SAMPLES * SAMPLE)
            faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults
            asked.send(
                {
                    "put": cost,
                    "get": _cost(get, SAMPLE),
                    "change read": _cost(lambda: _read_changes(reader, source.randrange(size // 2)), SAMPLE),
                    "memory MiB": _own_memory_mib(),
                    "faults a put": faults / PUT_SAMPLES / SAMPLE,
                }
            )


def _cost(action: Callable[[], object], operations: int) -> float:
    """Microseconds of processor time of this process, an operation."""
    started = time.process_time()
    action()
    return (time.process_time() - started) / operations * 1e6


def _settle(environment: Any, store: Path) -> None:
    """Wait until a checkpoint holds everything that was written."""
    from afterwrite.store import checkpoints

    deadline_s = time.monotonic() + SETTLED_S_MAX
    with environment.read() as transaction:
        last = transaction.counter("record")
    while (kept := checkpoints.kept(store)) is None or kept.record < last:
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"expected a checkpoint of the record {last} within {SETTLED_S_MAX} s, found {kept}")
        time.sleep(0.05)


def _key(number: int) -> dict[str, Any]:
    return {"pk": f"SESSION#{number // 50:08d}", "sk": f"TURN#{number:09d}"}


def _items(numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Items that are as long whenever they are put, and differ each time."""
    text = f"{TEXT}{time.perf_counter_ns():0{STAMP_DIGITS}}"
    return ({**_key(number), "text": text, "number": number} for number in numbers)


def _read_changes(reader: Any, after: int) -> int:
    return sum(len(change.new) for _, change in reader.positioned_changes("things", after, SAMPLE))


def _own_memory_mib() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0
