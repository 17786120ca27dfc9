"""How a backlog's size matters: changes a second until the last effect, of 10,000 changes and of 1,000,000.

All changes are written first; then the engine is started with the app, and the time is taken until its routes have
had every change. The effect is a message in a queue, so that the store holds as many again in the end.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.cache import CACHE
from bench.report import Figure

SMALL, LARGE = 10_000, 1_000_000
# A small one is drained in about a second, and is taken more often.
SMALL_ROUNDS, LARGE_ROUNDS = 5, 1
KEYS = 1_000
RATIO_MAX = 1.2
DRAINED_S_MAX = 900.0
RATE = "changes/s"


def measure(_seconds: float) -> Figure:
    """Each in a process of its own."""
    figure = Figure("Changes/s of a backlog, until the last effect")
    CACHE.mkdir(parents=True, exist_ok=True)
    for changes, rounds in ((SMALL, SMALL_ROUNDS), (LARGE, LARGE_ROUNDS), (SMALL, SMALL_ROUNDS)):
        for _ in range(rounds):
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="backlog-") as directory:
                receiver, sender = multiprocessing.Pipe(duplex=False)
                process = multiprocessing.get_context("spawn").Process(
                    target=_round, args=(Path(directory) / "data", changes, sender)
                )
                process.start()
                sender.close()
                seconds, cpu_s, grown_mib = receiver.recv()
                process.join()
            measures = {RATE: changes / seconds, "µs of processor time each": cpu_s / changes * 1e6}
            figure.add(f"{changes:,} changes", {**measures, "MiB of memory more": grown_mib})
    small, large = (figure.medians(f"{changes:,} changes")[RATE] for changes in (SMALL, LARGE))
    if large * RATIO_MAX < small:
        figure.fault(f"the large backlog drains {small / large:.2f} times slower, at most {RATIO_MAX} is expected")
    return figure


def _round(data: Path, changes: int, sender: Any) -> None:
    from afterwrite import App, open_engine

    app = App("backlog")
    things = app.table("things", partition_key="pk", sort_key="number")
    out = app.queue("out")

    @things.on()
    def route(change: Any) -> Any:
        return out.send({"pk": change.keys["pk"], "number": change.keys["number"]})

    with open_engine(data, app):
        pass  # from now on the table's changes are kept for this app's routes
    with open_engine(data) as engine:
        engine.table("things").put_many(
            {"pk": f"key-{number % KEYS}", "number": f"{number // KEYS:06}", "text": "x" * 200}
            for number in range(changes)
        )
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with open_engine(data, app) as engine:
        reader = engine.reader()
        deadline = began_s + DRAINED_S_MAX
        while reader.position("things") < changes:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{reader.position('things'):,} of {changes:,} changes in {DRAINED_S_MAX:.0f} s")
            time.sleep(0.02)
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    sender.send((seconds, cpu_s, grown_kib / 1024))
