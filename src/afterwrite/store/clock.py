"""The engine's clock: the time of day, which never runs backwards and never stands still."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class SteadyClock:
    """The wall clock (us since the epoch), as long as that goes forward.

    Where it is set back, time goes on at its own pace from where it was, until the wall clock has caught up or the
    engine starts again: a wait that was begun lasts as long as it was to last. For any thread.
    """

    def __init__(self, wall_ns: Callable[[], int] | None = None) -> None:
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._seen_us = 0
        self._seen_at_ns = time.monotonic_ns()

    def __call__(self) -> int:
        """The time."""
        with self._lock:
            # The wall clock first: whoever is held up in between takes the time for earlier than it is, not for later.
            wall_us = (self._wall_ns or time.time_ns)() // 1000
            now_ns = time.monotonic_ns()
            floor_us = self._seen_us + (now_ns - self._seen_at_ns) // 1000
            if wall_us >= floor_us:
                self._seen_us, self._seen_at_ns = wall_us, now_ns
                return wall_us
            return floor_us

    def catch_up(self, other_us: int) -> None:
        """Be at least as late as another process of the engine has it, which may have seen what this one has not."""
        with self._lock:
            now_ns = time.monotonic_ns()
            if other_us > self._seen_us + (now_ns - self._seen_at_ns) // 1000:
                self._seen_us, self._seen_at_ns = other_us, now_ns
