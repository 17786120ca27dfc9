"""Gathering: entries that threads have at one time become one request of a target."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from afterwrite.core.batching import Entry, Limits, requests
from afterwrite.core.target_failures import TargetFailure


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    is_done: bool = False
    failure: TargetFailure | None = None
    error: BaseException | None = None


class Gathering:
    """One request at a time: what comes meanwhile waits, and is the next request, within the target's limits.

    So a target that answers at once is asked at once, and one that takes its time gets larger requests. Entries of one
    lane come one after the other, as a queue gives them, so their order is the lane's.
    """

    def __init__(self, limits: Limits, send: Callable[[Sequence[Entry]], Sequence[TargetFailure | None]]) -> None:
        self._limits = limits
        self._send = send
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._waiting: list[_Waiting] = []

    def perform(self, entry: Entry) -> TargetFailure | None:
        """Why the entry failed, None where it was performed. Raises what `send` raises."""
        mine = _Waiting(entry)
        with self._lock:
            self._waiting.append(mine)
        with self._turn:
            if not mine.is_done:
                self._send_all()
        if mine.error is not None:
            raise mine.error
        return mine.failure

    def _send_all(self) -> None:
        with self._lock:
            gathered, self._waiting = self._waiting, []
        left = iter(gathered)
        for request in requests([each.entry for each in gathered], self._limits):
            mine = [next(left) for _ in request]
            try:
                for each, failure in zip(mine, self._send(request), strict=True):
                    each.failure = failure
            except BaseException as error:  # noqa: BLE001 - each of the threads has to learn of it
                for each in mine:
                    each.error = error
            for each in mine:
                each.is_done = True
