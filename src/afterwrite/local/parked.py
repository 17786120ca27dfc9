"""The entries that wait for an operator, on the embedded store."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from afterwrite.core.parked import EVERYTHING, ParkedEntry, Portion, Selection
from afterwrite.store import parked
from afterwrite.store.environment import Environment

_AT_ONCE: Final = 500


class EmbeddedParked:
    """The ParkedWork of the embedded engine."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def entries(self, selection: Selection = EVERYTHING, *, after: str = "") -> Iterator[ParkedEntry]:
        """The entries that are meant, in the order of their places, after a place; as of one commit."""
        with self._environment.read() as transaction:
            yield from parked.entries(transaction, selection, after=after)

    def redrive(self, selection: Selection = EVERYTHING, *, after: str = "", limit: int = _AT_ONCE) -> Portion:
        """Let at most `limit` of the entries that are meant, after a place, run again."""
        return self._environment.write(partial(parked.redrive, selection=selection, after=after, limit=limit))

    def drop(
        self, selection: Selection = EVERYTHING, *, after: str = "", limit: int = _AT_ONCE, whole_lane: bool = False
    ) -> Portion:
        """Delete at most `limit` of the entries that are meant, after a place; what waits behind them goes on."""
        return self._environment.write(
            partial(parked.drop, selection=selection, after=after, limit=limit, whole_lane=whole_lane)
        )
