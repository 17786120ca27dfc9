"""Reads that may take seconds: in a thread of their own, one after the other, so that nobody else waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from afterwrite.errors import StorageError
from afterwrite.store.environment import Environment, ReadTransaction

T = TypeVar("T")

_ENTRIES_BETWEEN_LOOKS = 256


class LongReads:
    """Runs reads of an environment in a thread. `close` ends the one that runs, with those that wait, in an error."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, "long-reads")

    def run(self, read: Callable[[ReadTransaction], T], on_done: Callable[[T | None, Exception | None], None]) -> None:
        """Run `read`; then `on_done(result, error)` is called in its thread. Raises StorageError once it is closed."""
        try:
            self._thread.submit(self._run, read, on_done)
        except RuntimeError:
            raise _stopped() from None

    def _run(self, read: Callable[[ReadTransaction], T], on_done: Callable[[T | None, Exception | None], None]) -> None:
        try:
            with self._environment.read() as transaction:
                found = read(_Stoppable(self._environment, transaction, self._stopping))
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            on_done(None, error)
        else:
            on_done(found, None)

    def close(self) -> None:
        """End what runs and what waits, and the thread."""
        self._stopping.set()
        self._thread.shutdown()


class _Stoppable(ReadTransaction):
    __slots__ = ("_stopping",)

    def __init__(self, environment: Environment, transaction: ReadTransaction, stopping: threading.Event) -> None:
        super().__init__(environment, transaction.lmdb)
        self._stopping = stopping

    def scan(
        self, database: str, low: bytes, high: bytes | None = None, *, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for count, entry in enumerate(super().scan(database, low, high, reverse=reverse)):
            if count % _ENTRIES_BETWEEN_LOOKS == 0 and self._stopping.is_set():
                raise _stopped()
            yield entry


def _stopped() -> StorageError:
    return StorageError("the engine is being stopped: send the request again when it is started")
