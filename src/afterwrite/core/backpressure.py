"""Backpressure: how much a target is given at once. State machines without a clock; times are in ms of any clock.

`Concurrency` is how many attempts may run beside each other: one more for each round that goes well, half as many
when the target is in trouble, fewer when it becomes slow. `Breaker` keeps off a target that fails for one lane after
the other, and tries with single attempts whether it is back. Failures of one lane alone are that lane's, and move
neither to a stop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

# Slow is what takes this many times as long as usual, and this much longer.
_SLOW_FACTOR: Final = 4.0
_SLOW_MS: Final = 50.0
_SLOWER_FACTOR: Final = 0.8
_TROUBLE_FACTOR: Final = 0.5
_RECENT_WEIGHT: Final = 1 / 8
# Usual follows down quickly and up slowly: what a target can do without load.
_USUAL_WEIGHT_DOWN: Final = 1 / 8
_USUAL_WEIGHT_UP: Final = 1 / 128

# What a function's threads do in so long may wait beside them, at most so many messages.
_AHEAD_MS: Final = 10.0
AHEAD_MAX: Final = 32

# Attempts of a function that hang: of a lane, of all while more than one runs at a time, and while any runs at all.
STUCK_MAX_A_LANE: Final = 2
STUCK_MAX: Final = 32
STUCK_LIMIT: Final = 512

TROUBLED_LANES_MAX: Final = 5
OPEN_MS_FIRST: Final = 1_000
OPEN_MS_MAX: Final = 60_000
_DOUBLINGS_MAX: Final = 16


@dataclass(frozen=True, slots=True)
class Concurrency:
    """How many attempts may run at once: from 1 to `most`; `decreased_at_ms` is when it was last made fewer."""

    most: int
    limit: float
    usual_ms: float | None = None
    recent_ms: float = 0.0
    decreased_at_ms: float | None = None

    @classmethod
    def full(cls, most: int) -> Concurrency:
        """As many as are allowed, until something speaks against it."""
        return cls(most, float(most))

    @property
    def slots(self) -> int:
        """How many attempts may run at once."""
        return max(1, int(self.limit))

    @property
    def ahead(self) -> int:
        """How many messages may be received before there is a slot for them: a few where attempts are short.

        None where nothing is known of the target, or nothing good: what is received early would meet the same.
        """
        if self.recent_ms <= 0 or self.limit < self.most:
            return 0
        return min(AHEAD_MAX, int(self.slots * _AHEAD_MS / self.recent_ms))

    def after_success(self, *, began_ms: float, now_ms: float) -> Concurrency:
        """An attempt that went well, or that failed for reasons of its own: one more a round, unless it is slow."""
        took_ms = max(0.0, now_ms - began_ms)
        usual_ms, recent_ms = self.usual_ms, self.recent_ms
        if usual_ms is None:
            usual_ms = recent_ms = took_ms
        else:
            weight = _USUAL_WEIGHT_DOWN if took_ms < usual_ms else _USUAL_WEIGHT_UP
            usual_ms += (took_ms - usual_ms) * weight
            recent_ms += (took_ms - recent_ms) * _RECENT_WEIGHT
        # Every message comes by here: one value is made, and not by `replace`, which takes three times as long.
        if recent_ms > usual_ms * _SLOW_FACTOR + _SLOW_MS:
            seen = Concurrency(self.most, self.limit, usual_ms, recent_ms, self.decreased_at_ms)
            return seen._decreased(_SLOWER_FACTOR, began_ms, now_ms)
        limit = min(float(self.most), self.limit + 1 / self.limit)
        return Concurrency(self.most, limit, usual_ms, recent_ms, self.decreased_at_ms)

    def after_trouble(self, *, began_ms: float, now_ms: float) -> Concurrency:
        """An attempt that the target throttled or did not answer: half as many."""
        return self._decreased(_TROUBLE_FACTOR, began_ms, now_ms)

    def _decreased(self, factor: float, began_ms: float, now_ms: float) -> Concurrency:
        # An attempt that began before the last decrease says nothing of how it is since.
        if self.decreased_at_ms is not None and began_ms < self.decreased_at_ms:
            return self
        return replace(self, limit=max(1.0, self.limit * factor), decreased_at_ms=now_ms)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether a target is left alone.

    Closed: everything goes. After trouble in `TROUBLED_LANES_MAX` lanes, and nothing that went well between, it is
    open: nothing goes until `open_until_ms`. From then on it is half open: one attempt at a time goes, the probe, which
    closes it or opens it again, for twice as long. `opened` is how often in a row it was opened, 0 where it is closed.
    """

    troubled_lanes: frozenset[str] = frozenset()
    opened: int = 0
    open_until_ms: float = 0.0

    @property
    def is_closed(self) -> bool:
        """Whether everything goes."""
        return self.opened == 0

    def admits(self, *, running: int, now_ms: float) -> int | None:
        """How many more attempts may begin beside those that run, None where it does not matter."""
        if self.is_closed:
            return None
        return max(0, 1 - running) if now_ms >= self.open_until_ms else 0

    def after_success(self) -> Breaker:
        """Something went well, or failed for reasons of its own: the target is there."""
        return self if self.is_closed and not self.troubled_lanes else Breaker()

    def after_trouble(self, lane: str, *, began_ms: float, now_ms: float) -> Breaker:
        """The target throttled an attempt or did not answer it."""
        if self.is_closed:
            lanes = self.troubled_lanes | {lane}
            return self._opened(now_ms) if len(lanes) >= TROUBLED_LANES_MAX else replace(self, troubled_lanes=lanes)
        # What began before it was opened tells what is known.
        return self._opened(now_ms) if began_ms >= self.open_until_ms else self

    def _opened(self, now_ms: float) -> Breaker:
        wait_ms = min(OPEN_MS_MAX, OPEN_MS_FIRST * 2 ** min(self.opened, _DOUBLINGS_MAX))
        return Breaker(frozenset(), self.opened + 1, now_ms + wait_ms)


def free_slots(*, allowed: int, running: int, stuck: int) -> int:
    """How many more attempts may begin, beside those that run and those that hang.

    While `STUCK_MAX` hang, one runs at a time, so that a key that does not hang gets its turn though others do; from
    `STUCK_LIMIT` on none, as every one that hangs holds a thread for ever.
    """
    if stuck >= STUCK_LIMIT:
        return 0
    return max(0, min(allowed, 1 if stuck >= STUCK_MAX else allowed) - running)


def lane_is_stuck(stuck: int) -> bool:
    """Whether as many attempts of a lane hang as may, so that no other of it begins."""
    return stuck >= STUCK_MAX_A_LANE
