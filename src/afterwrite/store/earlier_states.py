"""Tables as they were: their items as they are, with what has changed since taken back.

Where a table's stream shows old images, its change log has for each change the item before it. So the first change of
an item after a time says what the item was then, and an item without one is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import orjson

from afterwrite.core.changes import NEW_AND_OLD_IMAGES, OLD_IMAGE, Change
from afterwrite.store import change_log, items, streams
from afterwrite.store.change_log import Stream
from afterwrite.store.environment import ReadTransaction
from afterwrite.store.tables import Table
from afterwrite.table.sizes import item_size

_WITH_OLD_IMAGES: Final = (OLD_IMAGE, NEW_AND_OLD_IMAGES)


@dataclass(frozen=True, slots=True)
class EarlierStates:
    """What a table was at any time from `first_ms` on."""

    table: Table
    stream: Stream
    first_ms: int

    def scan(self, transaction: ReadTransaction, at_us: int) -> Iterator[tuple[int, bytes]]:
        """The items at a time: size in bytes, and JSON text. Holds the keys of what has changed since in memory."""
        changed = self._first_changes(transaction, at_us)
        for stored_at, size, text in items.scan_placed(transaction, self.table):
            position = changed.pop(stored_at, None)
            if position is None:
                yield size, text
            else:
                yield from self._before(transaction, position)
        for position in changed.values():  # of items that are gone since
            yield from self._before(transaction, position)

    def _first_changes(self, transaction: ReadTransaction, at_us: int) -> dict[bytes, int]:
        """The position of the first change after a time of each item that has one, by where the item is stored."""
        first: dict[bytes, int] = {}
        for position, stored in change_log.made_since(transaction, self.stream, at_us + 1):
            first[items.place_of(self.table, orjson.loads(stored.keys))] = position
        return first

    def _before(self, transaction: ReadTransaction, position: int) -> Iterator[tuple[int, bytes]]:
        """The item before the change at a position, if there was one."""
        change = _change_at(transaction, self.stream, position)
        if change.old_image is not None:
            yield item_size(change.old_image), orjson.dumps(change.old_image)


def of(transaction: ReadTransaction, table: Table) -> EarlierStates | None:
    """What is known of the table's earlier states, None where its change log does not have them."""
    stream = table.stream
    if stream is None or stream.fed_by is not None or stream.view_type not in _WITH_OLD_IMAGES:
        return None
    state = streams.state_of(transaction, stream.number)
    if state is None:
        return None
    if state.trimmed_through and not state.trimmed_before_ms:  # trimmed when that was not kept yet
        oldest = change_log.first_after(transaction, stream, 0)
        return None if oldest is None else EarlierStates(table, stream, oldest[1] // 1000 + 1)
    # Some of what happened within that millisecond may be missing.
    return EarlierStates(table, stream, max(state.created_at_ms, state.trimmed_before_ms) + 1)


def _change_at(transaction: ReadTransaction, stream: Stream, position: int) -> Change:
    _, change = next(change_log.read(transaction, stream, position - 1, 1))
    return change
