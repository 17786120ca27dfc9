"""Writers: processes of their own, each with a count of what it has written that its starter can read."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeAlias

from demonstration.orphans import end_with_starter

Count: TypeAlias = "Synchronized[int]"


class WriterFailed(Exception):
    """A writer ended before its work was done; its error is on standard error."""


class Writers:
    """Runs `write(share, written)` in a process for each share, and kills what is left of them in the end.

    `write` adds to `written` what it has had acknowledged; it has to be a function of a module.
    """

    def __init__(self, write: Callable[[Any, Count], None], shares: Sequence[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._counts = [counter() for _ in shares]
        self._processes: list[SpawnProcess] = [
            context.Process(target=_until_killed, args=(write, share, count), name=f"writer-{number}", daemon=True)
            for number, (share, count) in enumerate(zip(shares, self._counts, strict=True))
        ]

    def __enter__(self) -> Writers:
        try:
            with _uninterrupted():
                for process in self._processes:
                    process.start()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()

    def _kill(self) -> None:
        for process in self._processes:
            if process.pid is not None:
                process.kill()

    @property
    def written(self) -> int:
        """How much has been written by all of them."""
        return sum(count.value for count in self._counts)

    def at_work(self) -> bool:
        """Whether one of them has not ended. Raises WriterFailed."""
        # Asked before their ends are looked at: one that fails in between is found the next time.
        at_work = any(process.is_alive() for process in self._processes)
        for process in self._processes:
            if process.exitcode not in (None, 0):
                raise WriterFailed(f"{process.name} ended with {process.exitcode}; its error is above")
        return at_work


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Start processes, and see to their end, without an interruption in between; on the main thread.

    Ctrl-C reaches the whole group of processes, but the starter is the one that ends the others. A process is born
    with its starter's mask, so that nothing is printed even by one that has only begun. The mask is one thread's:
    a signal that another thread of the starter takes is kept until the end, too.
    """
    kept: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: kept.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    before = signal.pthread_sigmask(signal.SIG_BLOCK, handlers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for taken in kept:
            signal.raise_signal(taken)


def counter() -> Count:
    """A count that processes share."""
    return multiprocessing.get_context("spawn").Value("q", 0)


def _until_killed(write: Callable[[Any, Count], None], share: Any, written: Count) -> None:
    end_with_starter()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    starter = multiprocessing.parent_process()
    if starter is not None and starter.is_alive():  # it may have ended before it was watched
        write(share, written)
