"""Changes that arrive twice and in no certain order, put in order. Pure.

A Kinesis stream of a table's changes promises neither order nor that a record comes once (S26). What tells the order
is when a change was made, and, of changes of one item made at one time, that each begins with the image that the one
before ended with. A change waits for a *window* after its arrival, so that an older one which arrives within that time
comes before it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple, TypeVar

import orjson

from afterwrite.core.changes import Change
from afterwrite.core.values import Item

T = TypeVar("T")


class Arrival(NamedTuple):
    """A change that has arrived: where in the stream, and when (µs since the epoch)."""

    position: int
    arrived_at_us: int
    change: Change


def in_order_of_creation(items: Iterable[T], change_of: Callable[[T], Change]) -> list[T]:
    """What arrived, in the order in which it happened; where nothing tells the order, as it arrived.

    No change may be among them twice.
    """
    ordered: list[T] = []
    by_time = sorted(items, key=lambda item: change_of(item).created_at_us)
    for _, group in groupby(by_time, key=lambda item: change_of(item).created_at_us):
        ordered.extend(_at_one_time(list(group), change_of))
    return ordered


def _at_one_time(items: list[T], change_of: Callable[[T], Change]) -> list[T]:
    """Changes of one time: those of one item where its first was, linked by their images."""
    if len(items) == 1:
        return items
    by_item: dict[bytes, list[T]] = {}
    for item in items:
        by_item.setdefault(_text(change_of(item).keys_image), []).append(item)
    return [item for of_item in by_item.values() for item in _linked(of_item, change_of)]


def _linked(items: list[T], change_of: Callable[[T], Change]) -> list[T]:
    """One item's changes as a trail from image to image that takes each once; as they are where there is none."""
    if len(items) == 1:
        return items
    leaving: dict[bytes, list[T]] = {}
    surplus: dict[bytes, int] = {}
    for item in items:
        old, new = _ends(change_of(item))
        leaving.setdefault(old, []).append(item)
        surplus[old] = surplus.get(old, 0) + 1
        surplus[new] = surplus.get(new, 0) - 1
    start = next((image for image, count in surplus.items() if count > 0), _ends(change_of(items[0]))[0])
    trail: list[T] = []
    path: list[tuple[bytes, T | None]] = [(start, None)]
    while path:
        image, taken = path[-1]
        if leaving.get(image):
            item = leaving[image].pop(0)
            path.append((_ends(change_of(item))[1], item))
        else:
            path.pop()
            if taken is not None:
                trail.append(taken)
    trail.reverse()
    is_trail = len(trail) == len(items) and all(
        _ends(change_of(first))[1] == _ends(change_of(second))[0] for first, second in pairwise(trail)
    )
    return trail if is_trail else items


def _ends(change: Change) -> tuple[bytes, bytes]:
    return _text(change.old_image), _text(change.new_image)


def _text(image: Item | None) -> bytes:
    return orjson.dumps(image, option=orjson.OPT_SORT_KEYS)


class Reordering:
    """The changes that wait for older ones. What was released before is for the caller to know.

    At most `waiting_max` wait: beyond that the oldest are released before their time.
    """

    def __init__(self, *, window_us: int, waiting_max: int) -> None:
        self._window_us = window_us
        self._waiting_max = waiting_max
        self._waiting: list[tuple[int, int, Arrival]] = []
        self._ids: set[str] = set()

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """Take what arrived; one that waits already is not taken twice."""
        for arrival in arrivals:
            if arrival.change.id not in self._ids:
                self._ids.add(arrival.change.id)
                heapq.heappush(self._waiting, (arrival.change.created_at_us, arrival.position, arrival))

    def release(self, read_to_us: int, *, limit: int) -> Sequence[Change]:
        """The oldest changes whose window has passed, in order, where all that arrived up to a time (µs) was added.

        At most `limit`, but all of one time.
        """
        released: list[Arrival] = []
        while self._waiting and len(released) < limit and self._may_go(self._waiting[0][2], read_to_us):
            created_at_us = self._waiting[0][0]
            while self._waiting and self._waiting[0][0] == created_at_us:
                released.append(heapq.heappop(self._waiting)[2])
        self._ids.difference_update(each.change.id for each in released)
        return [each.change for each in in_order_of_creation(released, lambda each: each.change)]

    def _may_go(self, oldest: Arrival, read_to_us: int) -> bool:
        return oldest.arrived_at_us + self._window_us <= read_to_us or len(self._waiting) > self._waiting_max

    @property
    def next_release_us(self) -> int | None:
        """The time up to which must have been read before more is released, None where nothing waits."""
        return self._waiting[0][2].arrived_at_us + self._window_us if self._waiting else None

    def done_through(self, read_through: int) -> int:
        """The position up to which everything was released, where the stream was read up to another."""
        return min((position - 1 for _, position, _ in self._waiting), default=read_through)
