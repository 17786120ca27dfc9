"""Threads that run users' functions, of which there may be thousands.

A thread that wants the interpreter while another has it asks for it after a turn, Python's switch interval, and again
after each turn until it has it. With thousands that wait, their asking takes all of a core, and nobody gets on, neither
requests nor who stops the engine. So the more threads there are, the longer a turn is.

Threads that nobody needed for a while end, and where the system gives no more of them, those that there are go on.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from typing import Final

_LOG = logging.getLogger("afterwrite")

# So all of them together ask a hundred thousand times a second at most. 200 threads have turns of 2 ms.
_TURN_S_A_THREAD: Final = 0.00001
# Threads that nobody has needed for so long end, but for one: the next call need not wait for it.
_KEPT_S: Final = 60.0


class Threads:
    """The threads of one function. For one thread to use.

    Each runs `run`, which returns once it is told to by `end_one`. They end with the process, too.
    """

    def __init__(
        self, name: str, run: Callable[[], None], end_one: Callable[[], None], monotonic_s: Callable[[], float]
    ) -> None:
        self._name = name
        self._run = run
        self._end_one = end_one
        self._monotonic_s = monotonic_s
        self._count = self._started = 0
        self._is_refused = False
        # The most that were needed since then.
        self._needed = 0
        self._since_s = monotonic_s()

    def need(self, count: int) -> None:
        """Have at least so many, or as many as the system gives. To be called now and then."""
        while self._count < count and self._start():
            self._count += 1
        self._needed = max(self._needed, count)
        now_s = self._monotonic_s()
        if now_s - self._since_s >= _KEPT_S:
            self.end(self._count - max(self._needed, 1))
            self._needed, self._since_s = count, now_s

    def end(self, count: int) -> None:
        """End so many, once they are idle."""
        for _ in range(count):
            self._count -= 1
            self._end_one()

    def end_all(self) -> None:
        """End all, each once it is idle."""
        self.end(self._count)

    def _start(self) -> bool:
        is_refused = not start_thread(self._run, f"{self._name}-{self._started + 1}")
        if is_refused and not self._is_refused:
            fields = {"function": self._name, "threads": self._count}
            _LOG.error("the system gives no more threads: those that there are go on", extra={"fields": fields})
        self._is_refused = is_refused
        self._started += not is_refused
        return not is_refused


def start_thread(run: Callable[[], None], name: str) -> bool:
    """Start a thread that ends with the process, and let turns be long enough for as many as there are then.

    False where the system gives none.
    """
    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):
        return False
    turn_s = threading.active_count() * _TURN_S_A_THREAD
    if turn_s > sys.getswitchinterval():
        sys.setswitchinterval(turn_s)
    return True
