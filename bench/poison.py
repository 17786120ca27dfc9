"""One poison record among 100,000: what it costs the rest of the stream, and that its lane is kept whole.

All changes are written first; then the engine is started with the app, and the time is taken until its routes have
had every change and the queue holds every effect. Rounds alternate between a stream without and one with a change on
which the route fails. Afterwards the route is mended and the parked lane redriven: every key's changes must have
arrived in their order, each once. What is compared is processor time, which does not depend on who else is busy.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.cache import CACHE
from bench.report import Figure

CHANGES = 100_000
KEYS = 1_000
ROUNDS = 7
SLOWER_MAX = 0.05
POISONED_KEY = KEYS // 2
POISONED_NUMBER = CHANGES // KEYS // 3
DRAINED_S_MAX = 300.0
PER_CPU_S = "changes/s of processor time"
GOOD, POISONED = "every record good", "one record poisoned"


def measure(_seconds: float) -> Figure:
    """Alternating rounds, each in a process of its own."""
    figure = Figure(f"Changes/s of a backlog of {CHANGES:,}, until the last effect")
    CACHE.mkdir(parents=True, exist_ok=True)
    for _ in range(ROUNDS):
        for name in (GOOD, POISONED):
            with tempfile.TemporaryDirectory(dir=CACHE, prefix="poison-") as directory:
                receiver, sender = multiprocessing.Pipe(duplex=False)
                arguments = (Path(directory) / "data", name == POISONED, sender)
                process = multiprocessing.get_context("spawn").Process(target=_round, args=arguments)
                process.start()
                sender.close()
                seconds, cpu_s, faults = receiver.recv()
                process.join()
                for fault in faults:
                    figure.fault(f"{name}: {fault}")
                per_cpu_s = CHANGES / cpu_s
                figure.add(name, {"changes/s": CHANGES / seconds, PER_CPU_S: per_cpu_s, "seconds": seconds})
    good, poisoned = (figure.medians(name)[PER_CPU_S] for name in (GOOD, POISONED))
    if poisoned < good * (1 - SLOWER_MAX):
        figure.fault(f"{1 - poisoned / good:.1%} less throughput, at most {SLOWER_MAX:.0%} is expected")
    return figure


def _round(data: Path, poisoned: bool, sender: Any) -> None:
    from afterwrite import App, open_engine

    app = App("poison")
    things = app.table("things", partition_key="pk", sort_key="number")
    out = app.queue("out")
    broken = poisoned

    @things.on()
    def route(change: Any) -> Any:
        pk, number = change.keys["pk"], change.keys["number"]
        if broken and pk == f"key-{POISONED_KEY}" and number == f"{POISONED_NUMBER:06}":
            raise ValueError("poison")
        return out.send({"pk": pk, "number": number})

    with open_engine(data, app):
        pass  # from now on the table's changes are kept for this app's routes
    with open_engine(data) as engine:
        engine.table("things").put_many(
            {"pk": f"key-{number % KEYS}", "number": f"{number // KEYS:06}", "text": "x" * 200}
            for number in range(CHANGES)
        )
    faults: list[str] = []
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    with open_engine(data, app) as engine:
        reader = engine.reader()
        _wait(lambda: reader.position("things") >= CHANGES)
        seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        if poisoned:
            faults += _parked_whole(engine)
            broken = False
            engine.parked().redrive(limit=10)
            _wait(lambda: next(iter(reader.parked("things")), None) is None)
        faults += _in_order_and_once(reader)
    sender.send((seconds, cpu_s, faults))


def _parked_whole(engine: Any) -> list[str]:
    entries = list(engine.parked().entries())
    behind = CHANGES // KEYS - POISONED_NUMBER - 1
    if [(each.lane, each.behind) for each in entries] != [(f"things/key-{POISONED_KEY}", behind)]:
        return [f"expected one parked lane with {behind} changes behind the poisoned one, found {entries}"]
    return []


def _in_order_and_once(reader: Any) -> list[str]:
    arrived: dict[str, list[str]] = defaultdict(list)
    for message in reader.messages("out"):
        arrived[message.body["pk"]].append(message.body["number"])
    expected = [f"{number:06}" for number in range(CHANGES // KEYS)]
    wrong = [pk for pk, numbers in arrived.items() if numbers != expected]
    faults = []
    if wrong:
        faults.append(f"{len(wrong)} keys out of order, or with changes missing or twice, one of them {wrong[0]}")
    if len(arrived) != KEYS:
        faults.append(f"expected effects of {KEYS} keys, found {len(arrived)}")
    return faults


def _wait(condition: Any) -> None:
    deadline_s = time.monotonic() + DRAINED_S_MAX
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the backlog was not drained within {DRAINED_S_MAX:.0f} s")
        time.sleep(0.01)
