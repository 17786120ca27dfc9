"""Faults installed on an engine: what comes between its parts, and does at each occasion what the schedule says."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import orjson

from afterwrite import config
from afterwrite.app import App
from afterwrite.core import json_text
from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.invocations import Context
from afterwrite.core.ports import ArrivalPage, Arrivals, Delivery, Settled, Sink, Step, StepSink, WorkQueue
from afterwrite.core.reordering import Arrival
from afterwrite.engine.delivery import Invocable
from afterwrite.engine.handler_threads import InvocationThrottled
from afterwrite.errors import AfterwriteError, DeclarationError, StorageError, StorageFull
from afterwrite.server.http import Handler
from afterwrite.store.clock import SteadyClock
from afterwrite.store.environment import Environment
from afterwrite.testing.faults import (
    AnswerLost,
    At,
    ClockJump,
    Crash,
    DiskFull,
    Duplicate,
    Fault,
    Poison,
    Rejected,
    Reorder,
    Schedule,
    Slow,
    Throttled,
    from_json,
)
from afterwrite.testing.points import refuse_unknown_points
from afterwrite.testing.request_faults import faulty_handler
from afterwrite.wiring import Engine, Seams

T = TypeVar("T")
THROTTLED: Final = "ThrottlingException"


class InjectedFault(AfterwriteError):
    """What a fault of a schedule raises in a function; `response` has its code where SDKs' errors have theirs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.response = {"Error": {"Code": code, "Message": message}}


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault that happened, where, and by which rule."""

    rule: int
    point: str
    fault: Fault


class Injector:
    """Draws from a schedule for all threads of an engine, and keeps what has happened.

    Nothing happens before it is `armed`, but that poison is poison: what an engine that was killed has left is run
    before the next one has started.

    With a `log` that is a file, every fault is written there before it happens, so that a crash does not forget it.
    """

    def __init__(self, rules: Sequence[At], app: App | None, *, seed: int = 0, log: Path | None = None) -> None:
        if app is not None:
            refuse_unknown_points(rules, app)
        before = read_log(log)
        self._schedule = Schedule(rules, seed=seed + len(before), fired=Counter(each["rule"] for each in before))
        self._lock = threading.Lock()
        self._log = log
        self._reads_text = any(isinstance(rule.fault, Poison) for rule in rules)
        self._may_crash = log is not None
        self._offset_s = 0.0
        self.happened: list[Happened] = []
        self.armed = False
        if not self._may_crash and any(isinstance(rule.fault, Crash) for rule in rules):
            raise DeclarationError("a Crash ends the whole process: use afterwrite.testing.EngineProcess for it")

    def wall_ns(self) -> int:
        """The wall clock, with its jumps."""
        return time.time_ns() + int(self._offset_s * 1e9)

    def draw(self, point: str, text: Callable[[], str] | None = None) -> Fault | None:
        """What happens now at the point; `text` is what a Poison looks into. A jump of the clock has happened."""
        found_text = text() if self._reads_text and text is not None else ""
        with self._lock:
            found = self._schedule.draw(point, found_text, poison_only=not self.armed)
            if found is None:
                return None
            rule, fault = found
            self.happened.append(Happened(rule, point, fault))
            if self._log is not None:
                line = orjson.dumps({"rule": rule, "point": point, "fault": type(fault).__name__}) + b"\n"
                with self._log.open("ab", buffering=0) as log:
                    log.write(line)
        if isinstance(fault, ClockJump):
            self._offset_s += fault.seconds
            return None
        return fault

    def run(
        self,
        point: str,
        action: Callable[[], T],
        refused: Callable[[str, str], BaseException],
        text: Callable[[], str] | None = None,
    ) -> T:
        """Do what happens at the point, or let the fault happen; `refused` makes the error of a code and its words."""
        fault = self.draw(point, text)
        if isinstance(fault, Slow):
            time.sleep(fault.seconds)
        elif isinstance(fault, Rejected):
            raise refused(fault.code, f"rejected at {point} by a fault of the schedule")
        elif isinstance(fault, Poison):
            raise refused("PoisonRecord", f"poison at {point}: {fault.text!r} is in it")
        elif isinstance(fault, Throttled):
            raise refused(THROTTLED, f"throttled at {point} by a fault of the schedule")
        elif isinstance(fault, DiskFull):
            raise StorageFull(f"no space left at {point}, by a fault of the schedule: nothing was kept")
        elif isinstance(fault, Duplicate):
            action()
        elif isinstance(fault, Crash) and fault.when == "before":
            crash()
        result = action()
        if isinstance(fault, AnswerLost):
            raise refused("RequestTimeout", f"the answer was lost at {point} by a fault of the schedule")
        if isinstance(fault, Crash):
            crash()
        return result

    def seams(self) -> Seams:
        """What an engine is built with, so that the faults happen to it."""
        return Seams(
            open_store=self._open_store,
            invocable=self._invocable,
            mapping=self._mapping,
            work_queue=lambda queue, name: cast("WorkQueue", _FaultyQueue(queue, name, self)),
            arrivals=lambda arrivals, table: cast("Arrivals", _FaultyArrivals(arrivals, table, self)),
            steps=lambda steps, table: cast("StepSink", _FaultySteps(steps, table, self)),
            sink=lambda sink, name: cast("Sink", _FaultySink(sink, name, self)),
            handler=self._handler,
        )

    def _open_store(self, *arguments: Any, **options: Any) -> Environment:
        return _FaultyStore(self, *arguments, clock_us=SteadyClock(self.wall_ns), **options)

    def _invocable(self, invocable: Invocable) -> Invocable:
        point, handler = f"function:{invocable.name}", invocable.handler

        def run(payload: Any, context: Context) -> Any:
            def text() -> str:
                return json_text.dumps(payload).decode()

            return self.run(point, lambda: handler(payload, context), InjectedFault, text)

        return replace(invocable, handler=run)

    def _mapping(self, mapping: EventSourceMapping) -> EventSourceMapping:
        point, handler = f"function:{mapping.function_name}", mapping.handler

        def run(event: Any, context: Any) -> Any:
            return self.run(
                point, lambda: handler(event, context), _invocation_error, lambda: orjson.dumps(event).decode()
            )

        return replace(mapping, handler=run)

    def _handler(self, handler: Handler) -> Handler:
        return faulty_handler(handler, self.draw, crash)


def crash() -> None:
    """Kill this process; it gets no chance to finish anything."""
    os.kill(os.getpid(), signal.SIGKILL)


def read_log(log: Path | None) -> list[Mapping[str, Any]]:
    """The faults that a log holds; the last line may have been cut off."""
    if log is None or not log.is_file():
        return []
    return [orjson.loads(line) for line in log.read_bytes().splitlines() if line.endswith(b"}")]


def read_rules(rules: Path, app: App) -> Injector:
    """The injector of a file of rules and a seed, for an app; its log is beside it. Raises DeclarationError."""
    try:
        given = orjson.loads(rules.read_bytes())
        parsed = [from_json(fields) for fields in given["rules"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeclarationError(
            f"expected a file of faults in {rules}, as afterwrite.testing writes it: {error}"
        ) from None
    return Injector(parsed, app, seed=given.get("seed", 0), log=rules.with_suffix(".faults"))


def _invocation_error(code: str, message: str) -> AfterwriteError:
    """Of a mapping a throttled invocation is no error of the function: it did not run, and uses up no retry (S7)."""
    return InvocationThrottled(message) if code == THROTTLED else InjectedFault(code, message)


def _storage_error(_code: str, message: str) -> StorageError:
    return StorageError(message)


class _FaultyStore(Environment):
    def __init__(self, injector: Injector, *arguments: Any, **options: Any) -> None:
        self._injector = injector
        super().__init__(*arguments, **options)

    def _attempt(self, *arguments: Any) -> Any:
        return self._injector.run("commit", lambda: super(_FaultyStore, self)._attempt(*arguments), _storage_error)


class _Faulty:
    """A part with faults: what it does not do itself, the part does."""

    def __init__(self, part: Any, name: str, injector: Injector) -> None:
        self._part = part
        self._name = name
        self._injector = injector

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)


class _FaultyQueue(_Faulty):
    """A fault is drawn when messages are received, and happens when they are handed out; only then do they run."""

    def __init__(self, part: WorkQueue, name: str, injector: Injector) -> None:
        super().__init__(part, name, injector)
        self._drawn: deque[Fault | None] = deque()

    def exchange(self, settled: Iterable[Settled], *, limit: int) -> Sequence[Delivery]:
        return self._handed_out(self._part.exchange(settled, limit=limit))

    def expect(self, limit: int) -> Sequence[Delivery]:
        return self._handed_out(self._part.expect(limit))

    def tell_received(self, take: Callable[[Sequence[Delivery]], None]) -> None:
        def received(deliveries: Sequence[Delivery]) -> None:
            fault = self._draw()
            self._drawn.append(fault)
            if fault is None:
                take(deliveries)

        self._part.tell_received(received)

    def _draw(self) -> Fault | None:
        return self._injector.draw(f"deliveries:{self._name}")

    def _handed_out(self, deliveries: Sequence[Delivery]) -> Sequence[Delivery]:
        if not deliveries:
            return deliveries
        if not self._drawn:  # nobody was told of them
            self._drawn.append(self._draw())
        while self._drawn:
            fault = self._drawn.popleft()
            if isinstance(fault, Reorder):
                deliveries = deliveries[::-1]
            elif isinstance(fault, Slow):
                time.sleep(fault.seconds)
            elif isinstance(fault, Crash):
                crash()
        return deliveries


class _FaultyArrivals(_Faulty):
    """The positions of what arrives stay as they are: only the order changes, and how often it comes."""

    _again: Sequence[Arrival] = ()

    def read(self, after: int, *, limit: int, bytes_max: int) -> ArrivalPage:
        page: ArrivalPage = self._part.read(after, limit=limit, bytes_max=bytes_max)
        if not page.arrivals:
            return page
        again, self._again = self._again, ()
        fault = self._injector.draw(f"arrivals:{self._name}")
        if isinstance(fault, Duplicate):
            self._again = page.arrivals
        elif isinstance(fault, Reorder):
            return replace(page, arrivals=[*page.arrivals[::-1], *again])
        elif isinstance(fault, Slow):
            time.sleep(fault.seconds)
        elif isinstance(fault, Crash):
            crash()
        return replace(page, arrivals=[*page.arrivals, *again])


class _FaultySteps(_Faulty):
    def commit(self, step: Step, meanwhile: Callable[[], None] | None = None) -> None:
        self._injector.run(f"step:{self._name}", lambda: self._part.commit(step, meanwhile), _storage_error)


class _FaultySink(_Faulty):
    def flush(self) -> int:
        flush: Callable[[], int] = self._part.flush
        return self._injector.run(f"flush:{self._name}", flush, _storage_error)


class FaultyEngine(Engine):
    """An engine in this process, without a socket, to which the faults of the `rules` happen once it has started.

    Poison is poison before that, too. `happened` are the faults so far. Raises DeclarationError for a Crash, which
    needs an `EngineProcess`.
    """

    def __init__(
        self, data: str | Path, app: App | None, rules: Sequence[At], *, seed: int = 0, listen: str | None = None
    ) -> None:
        self._injector = Injector(rules, app, seed=seed)
        settings = config.load(data=Path(data), listen=listen)
        if listen is None:
            settings = replace(settings, port=None)
        super().__init__(app, settings, seams=self._injector.seams())

    def start(self) -> None:
        """Open the data directory and run the app's flows; then the faults begin (poison is there before)."""
        super().start()
        self._injector.armed = True

    def stop(self) -> None:
        """Let no more faults happen, but for poison, and stop."""
        self._injector.armed = False
        super().stop()

    @property
    def happened(self) -> Sequence[Happened]:
        """The faults that have happened, in order."""
        return tuple(self._injector.happened)
