"""The course of a demonstration: writers load, accidents happen on the way, and all that follows is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from demonstration.redis_process import RedisProcess
from demonstration.server_process import DemoEngine
from demonstration.shares import Share
from demonstration.stage import DemoFailed, Display
from demonstration.writers import Count, Writers

SETTLED_S_MAX: Final = 900.0
_POLL_S: Final = 0.1

_Part = TypeVar("_Part", bound=Share)

Accident: TypeAlias = tuple[int, Callable[[], str]]
"""After how many orders it happens, and what happens; that returns what is told of it."""


class Course:
    """Writes `total` orders into the engine's table and waits for what follows from them."""

    def __init__(self, engine: DemoEngine, display: Display, total: int) -> None:
        self._engine = engine
        self._display = display
        self._total = total

    def crashes(self, moments: Iterable[int]) -> list[Accident]:
        """The engine is killed and started again, after each of these numbers of orders."""

        def crash() -> str:
            self._engine.kill()
            self._engine.start()
            return "Killed the engine and started it again"

        return [(moment, crash) for moment in moments]

    def losses(self, redis: RedisProcess) -> list[Accident]:
        """Redis loses everything twice: it is flushed after a third, killed and started again after two thirds."""

        def flush() -> str:
            redis.flush()
            return "Flushed Redis"

        def restart() -> str:
            redis.kill()
            redis.start()
            return "Killed Redis, with all that it held, and started it again"

        return [(self._total // 3, flush), (self._total * 2 // 3, restart)]

    def shares(
        self, manifests: Sequence[Path], table_name: str, threads: int, *, size: int | None = None
    ) -> list[Share]:
        """A share for each manifest, of `size` orders: as many as there are writes, unless it is given."""
        return [
            Share(number, len(manifests), self._engine.url, table_name, size or self._total, threads, manifest)
            for number, manifest in enumerate(manifests)
        ]

    def load(
        self,
        write: Callable[[_Part, Count], None],
        shares: Sequence[_Part],
        accidents: Iterable[Accident],
        doing: str,
    ) -> None:
        """Have the shares written, each by a process of its own, while the accidents happen."""
        left = sorted(accidents, key=lambda each: each[0])
        with Writers(write, shares) as writers, self._display.progress(doing, self._total) as show:
            while writers.at_work():
                time.sleep(_POLL_S)
                show(writers.written)
                while left and writers.written >= left[0][0]:
                    _, happen = left.pop(0)
                    self._display.say(f"{happen()} after {writers.written} of {self._total}.")
                self._engine.check()
            show(writers.written)
        for _, happen in left:  # a small load may be over before its last ones
            self._display.say(f"{happen()} after the last one.")

    def settle(self, view: Any) -> None:
        """Wait until all that follows from the writes is done; `view` is made by `open_data`. Raises DemoFailed."""
        doing = "What follows: what was still to do when the load ended"
        self.wait(view, doing, _behind(view), left=lambda: _behind(view), done=view.idle)

    def wait(self, view: Any, doing: str, total: int, *, left: Callable[[], int], done: Callable[[], bool]) -> None:
        """Wait until it is `done`, and show how much of `total` is `left` meanwhile. Raises DemoFailed."""
        deadline = time.monotonic() + SETTLED_S_MAX
        with self._display.progress(doing, total) as show:
            while not done():
                show(max(0, total - left()))
                if time.monotonic() > deadline:
                    raise DemoFailed(f"not all was done after {SETTLED_S_MAX:.0f} s: {view.depths()}")
                self._engine.check()
                time.sleep(_POLL_S)
            show(total)


def _behind(view: Any) -> int:
    """How many changes are before the routes, and messages before the functions."""
    status = view.status()
    behind: int = sum(consumer.lag_records for consumer in status.consumers) + sum(
        queue.waiting + queue.in_flight for queue in status.queues
    )
    return behind
