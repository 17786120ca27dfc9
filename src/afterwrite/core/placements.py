"""Placements: where effects go on the embedded services, decided before anything is written.

An effect becomes placements by a pure function (filter policies, rules); the transaction of the step only puts
them. So an effect that cannot be placed, or whose payload is no JSON, fails its own change and no other.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias


class ToQueue(NamedTuple):
    """A message, as JSON text, for a queue's lane, not before `delay_ms` from now."""

    queue: str
    lane: str
    text: bytes
    delay_ms: int = 0


class ToBuffer(NamedTuple):
    """A record, as JSON text, for a buffer that feeds files."""

    buffer: str
    id: str
    at_ms: int
    text: bytes


class ToArchive(NamedTuple):
    """An event, as JSON text, with its lane where it shares one with others, for a bus's archive."""

    bus: str
    at_ms: int
    text: bytes
    keep_days: int


Placement: TypeAlias = ToQueue | ToBuffer | ToArchive
