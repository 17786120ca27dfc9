"""Effects: frozen values that say what is to be done, and the deterministic ids they are done under.

A route returns effects; it performs none. `stamp` gives each effect its id, made from the change's id, the
route's name and the effect's ordinal, so that a route run again on the same change asks for the same things
under the same ids, and whatever can deduplicate does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from afterwrite.core.json_text import JsonText
from afterwrite.errors import InvalidValue

DELAY_S_MAX: Final = 30 * 86_400


@dataclass(frozen=True, slots=True)
class Publish:
    """Send a message to a topic. Attribute values are text, numbers, or lists of text."""

    topic: str
    message: Any
    subject: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


RESERVED_SOURCE: Final = "aws."
"""How the sources of the services' own events begin, which nobody else's may."""


@dataclass(frozen=True, slots=True)
class PutEvent:
    """Put an event on a bus."""

    bus: str
    source: str
    detail_type: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Send a message to a queue, not before `delay_s` seconds (at most 30 days) have passed."""

    queue: str
    body: Any
    delay_s: float | Decimal = 0.0

    @property
    def delay_ms(self) -> int:
        """The delay in milliseconds. Raises InvalidValue for what is no delay."""
        delay_s: Any = self.delay_s
        is_number = isinstance(delay_s, int | float) or (isinstance(delay_s, Decimal) and delay_s.is_finite())
        # A NaN is in no range.
        if not is_number or not 0 <= delay_s <= DELAY_S_MAX:
            raise InvalidValue(f"expected a delay of 0 to {DELAY_S_MAX} s (30 days), got {delay_s!r}: choose another")
        return int(delay_s * 1000)


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand a record to a delivery stream, which writes it to the lake."""

    stream: str
    record: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Append:
    """Append an entry to an audit log."""

    log: str
    entry: Mapping[str, Any] | JsonText


@dataclass(frozen=True, slots=True)
class Invoke:
    """Invoke a function later, with `request` as its keyword values."""

    function: str
    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Show:
    """Show `values` by their keys in a cache, and take the `removed` keys out of it.

    Nothing happens where the cache shows a later `version` (decimal text) of the item `id`.
    """

    cache: str
    id: str
    version: str
    values: Mapping[str, str]
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """Put the document of the item `id` into a search index, or take it out where it is None.

    Nothing happens where the index holds a later `version` (decimal text).
    """

    index: str
    id: str
    version: str
    document: Mapping[str, Any] | None


Effect: TypeAlias = Publish | PutEvent | Enqueue | Deliver | Append | Invoke | Show | Index
EFFECT_TYPES: Final = frozenset((Publish, PutEvent, Enqueue, Deliver, Append, Invoke, Show, Index))


class StampedEffect(NamedTuple):
    """An effect with the id it is done under, the lane that orders it, and the time of the change behind it."""

    id: str
    lane: str
    at_ms: int
    effect: Effect


# What the class does when it is called, in half the time.
_new = tuple.__new__


def stamp(effects: Iterable[Effect], change_id: str, route: str, lane: str, at_ms: int) -> Sequence[StampedEffect]:
    """Give `effects` their ids: `<change id>/<route>/<ordinal>`."""
    stamped: list[StampedEffect] = []
    for effect in effects:
        stamped.append(_new(StampedEffect, (f"{change_id}/{route}/{len(stamped)}", lane, at_ms, effect)))
    return stamped
