"""How long after a write its effect comes: at 100 writes a second from one writer, at 1,000 from eight.

Ours: PutItem, a route, a queue, its consumer. The peer's: PutItem, the stream, an event source mapping, Lambda,
SQS, a receiver that waits. Both times are read from the same machine's clock: before the request is sent, and
when the consumer runs or the receiver has the message. The peer does not keep up with 1,000 writes a second and is
asked at 100 only.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import ChainMap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import engine
from bench.ministack_flow import Flow, ministack_flow
from bench.processes import Unavailable
from bench.report import Figure, percentile
from bench.wire import Connection, System, request_bytes

ROUNDS = 3
RATE_PER_S = 100
BUSY_RATE_PER_S = 1_000
BUSY_WRITERS = 8
ARRIVAL_S_MAX = 30.0
WARM_UP_WRITES = 50
TABLE = "bench"
PEER = "ministack (in memory)"

Receipts = Callable[[], Mapping[str, int]]
"""When each effect came, in nanoseconds since the epoch, by the sort key of its write; so far."""


def measure(seconds: float) -> Figure:
    """Alternating rounds of `seconds` over both systems."""
    figure = Figure(f"milliseconds from a write to its effect, at {RATE_PER_S} and at {BUSY_RATE_PER_S:,} writes/s")
    with contextlib.ExitStack() as stack:
        systems: list[tuple[System, Receipts]] = []
        starts: dict[str, Callable[[], tuple[System, Receipts]]] = {
            engine.NAME: lambda: _start_ours(stack),
            PEER: lambda: _start_peer(stack),
        }
        for name, start in starts.items():
            try:
                systems.append(start())
            except Unavailable as reason:
                figure.leave_out(name, str(reason))
        for system, receipts in systems:
            _sample(system, receipts, "warm", WARM_UP_WRITES, RATE_PER_S, 1)
        for number in range(ROUNDS):
            for system, receipts in systems:
                loads = [("", RATE_PER_S, 1)]
                if system.name == engine.NAME:
                    loads.append((f" at {BUSY_RATE_PER_S:,}/s", BUSY_RATE_PER_S, BUSY_WRITERS))
                measures: dict[str, float] = {}
                for at, rate_per_s, writers in loads:
                    writes = max(1, round(seconds * rate_per_s))
                    took_ms = _sample(system, receipts, f"round{number}-{rate_per_s}", writes, rate_per_s, writers)
                    if len(took_ms) != writes:
                        came = f"{len(took_ms)} effects in {ARRIVAL_S_MAX:.0f} s"
                        figure.fault(f"{system.name}: {writes} writes, {came}")
                    p50, p99 = percentile(took_ms, 50), percentile(took_ms, 99)
                    measures |= {f"p50{at}": p50, f"p99{at}": p99, f"max{at}": took_ms[-1]}
                figure.add(system.name, measures)
    return figure


def _sample(system: System, receipts: Receipts, run: str, writes: int, rate_per_s: int, writers: int) -> list[float]:
    """Write, wait for the effects, and return how long each took, in milliseconds, ordered."""
    keys = [f"{run}-{number:06d}" for number in range(writes)]
    begin = time.perf_counter() + 0.1

    def write(first: int) -> dict[str, int]:
        sent_ns: dict[str, int] = {}
        with Connection(system) as connection:
            requests = [_request(system, run, key) for key in keys[first::writers]]
            for number, (key, request) in enumerate(zip(keys[first::writers], requests, strict=True)):
                due = begin + (first + number * writers) / rate_per_s
                time.sleep(max(0.0, due - time.perf_counter()))
                sent_ns[key] = time.time_ns()
                status, answer = connection.send(request)
                if status != 200:
                    raise RuntimeError(f"{system.name} answered PutItem with {status}: {answer!r}")
        return sent_ns

    with ThreadPoolExecutor(writers) as pool:
        sent_ns = dict(ChainMap(*pool.map(write, range(writers))))
    deadline = time.monotonic() + ARRIVAL_S_MAX
    came_ns = receipts()
    while not sent_ns.keys() <= came_ns.keys() and time.monotonic() < deadline:
        time.sleep(0.05)
        came_ns = receipts()
    return sorted((came_ns[key] - sent_ns[key]) / 1e6 for key in keys if key in came_ns)


def _request(system: System, run: str, key: str) -> bytes:
    # A hundred lanes: the writes of one lane have their effects one after the other.
    item = {"PK": {"S": f"SESSION#{run}-{key[-2:]}"}, "SK": {"S": key}, "content": {"S": "hello " * 80}}
    return request_bytes(system, "PutItem", json.dumps({"TableName": TABLE, "Item": item}).encode())


def _start_ours(stack: contextlib.ExitStack) -> tuple[System, Receipts]:
    running = stack.enter_context(engine.afterwrite(engine.APPS / "latency.py"))
    return running.system, lambda: _receipts_in(running.data)


def _receipts_in(data: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in data.rglob("receipts/receipts"):
        for line in file.read_text().splitlines():
            key, came_ns = line.split()
            found.setdefault(key, int(came_ns))
    return found


def _start_peer(stack: contextlib.ExitStack) -> tuple[System, Receipts]:
    flow = stack.enter_context(ministack_flow(TABLE, batch_size=100))
    receiver = _Receiver(flow)
    stack.callback(receiver.stop)
    return flow.system, receiver.came_ns.copy


class _Receiver:
    """A thread that waits at the queue and notes when each message comes."""

    def __init__(self, flow: Flow) -> None:
        self.came_ns: dict[str, int] = {}
        self._flow = flow
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            bodies = self._flow.receive(wait_s=1)
            now_ns = time.time_ns()
            for body in bodies:
                self.came_ns.setdefault(body, now_ns)
