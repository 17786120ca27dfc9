"""The load generator: many connections in one process, each with one request under way at a time.

It must not be the bottleneck: requests are made before or cheaply during the run, and answers are parsed in C.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar, cast

import httptools
import uvloop
from bench.wire import System

ANSWERS_S_MAX = 120.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Load:
    """What came of a run. `acknowledged` counts every answer 200, `in_time` those before the time was up."""

    acknowledged: int = 0
    in_time: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unexpected: list[bytes] = field(default_factory=list)  # bodies of 200 that are not the one expected; a few
    began_ns: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers 200 a second, while the time ran."""
        return self.in_time / self.seconds

    def faults(self) -> list[str]:
        """What a run must not have: other answers than 200, other bodies than expected."""
        others = {status: count for status, count in self.statuses.items() if status != 200}
        found = [f"answers other than 200: {others}, one of them {self.unexpected[-1:]}"] if others else []
        if self.unexpected and not others:
            found.append(f"unexpected bodies, one of them {self.unexpected[0]!r}")
        return found


def in_own_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a process of its own, so that it takes no time from the caller's interpreter."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(function, *args, **kwargs).result()


def send(
    system: System,
    sequences: Iterable[Iterable[bytes]],
    *,
    connections: int,
    seconds: float | None = None,
    body: bytes | None = b"{}",
) -> Load:
    """Send sequences of requests: each in order on one connection, `connections` of them at a time.

    Every answer's body is compared with `body`, unless that is None.

    Ends after `seconds`, when the answers under way have come, or when everything is sent. Raises TimeoutError
    when answers stay away for two minutes.
    """
    return uvloop.run(_send(system, iter(sequences), connections, seconds, body))


async def _send(
    system: System, sequences: Iterator[Iterable[bytes]], connections: int, seconds: float | None, body: bytes | None
) -> Load:
    loop = asyncio.get_running_loop()
    load = Load()
    senders: list[_Sender] = []
    for _ in range(connections):
        sender = _Sender(load, sequences, body, loop.create_future())
        await loop.create_connection(lambda sender=sender: sender, system.host, system.port)  # type: ignore[misc]
        senders.append(sender)

    def time_is_up() -> None:
        load.in_time = load.acknowledged
        load.seconds = (time.time_ns() - load.began_ns) / 1e9
        for sender in senders:
            sender.stopping = True

    load.began_ns = time.time_ns()
    timer = loop.call_later(seconds, time_is_up) if seconds is not None else None
    for sender in senders:
        sender.next()
    answered = asyncio.gather(*(sender.finished for sender in senders))
    await asyncio.wait_for(answered, (seconds or 0.0) + ANSWERS_S_MAX)
    if timer is None or not load.seconds:
        time_is_up()
    return load


class _Sender(asyncio.Protocol):
    """One connection."""

    def __init__(
        self, load: Load, sequences: Iterator[Iterable[bytes]], body: bytes | None, finished: asyncio.Future[None]
    ) -> None:
        self.finished = finished
        self.stopping = False
        self._load = load
        self._sequences = sequences
        self._requests: Iterator[bytes] = iter(())
        self._expected = body
        self._body = b""
        self._parser: Any = httptools.HttpResponseParser(self)
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.finished.done():
            self.finished.set_exception(exc or ConnectionError("the server closed a connection"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        load = self._load
        load.statuses[status] += 1
        if status == 200:
            load.acknowledged += 1
        if self._expected is not None and self._body != self._expected and len(load.unexpected) < 10:
            load.unexpected.append(self._body)
        self._body = b""
        self.next()

    def next(self) -> None:
        """Send the next request, if there is one and time for it."""
        request = None if self.stopping else self._following()
        if request is not None:
            self._transport.write(request)
        else:
            self.finished.set_result(None)
            self._transport.close()

    def _following(self) -> bytes | None:
        while True:
            request = next(self._requests, None)
            if request is not None:
                return request
            sequence = next(self._sequences, None)
            if sequence is None:
                return None
            self._requests = iter(sequence)
