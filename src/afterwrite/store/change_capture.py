"""Change capture: a change goes where its table's changes go, in its own transaction."""

from __future__ import annotations

from typing import Final, NamedTuple

import orjson

from afterwrite.core.changes import NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE
from afterwrite.core.values import Item
from afterwrite.core.wire import StoredChange
from afterwrite.store import change_log, kinesis_destinations
from afterwrite.store.change_log import Stream
from afterwrite.store.environment import WriteTransaction
from afterwrite.table.sizes import item_size

# Of an item's place in the store: its partition key's digest, whose first two bytes are the change's hash key.
_PARTITION: Final = slice(4, 20)
_HASH_KEY: Final = slice(4, 6)


class KeyText(NamedTuple):
    """An item's key attributes as JSON text, and their size in bytes."""

    text: bytes
    size: int

    @classmethod
    def of(cls, key: Item) -> KeyText:
        """The text and the size of `key`."""
        return cls(orjson.dumps(key), item_size(key))


def capture(
    transaction: WriteTransaction,
    table: str,
    stream: Stream | None,
    *,
    event_name: str,
    stored_at: bytes,
    key: KeyText,
    new: bytes | None,
    old: bytes | None,
    new_bytes: int = 0,
    old_bytes: int = 0,
    by_ttl: bool = False,
) -> None:
    """Add a change of the table to its stream and to its Kinesis destination, where it has them.

    `new` and `old` are the images' JSON texts, `new_bytes` and `old_bytes` their sizes as items, `stored_at` the
    item's place. A record's size is that of its keys and of the images that it shows.
    """
    destination = kinesis_destinations.active_destination(transaction, table)
    if stream is not None and stream.fed_by is not None:
        stream = None  # its changes come by way of the destination
    if stream is None and destination is None:
        return
    if stream is not None:
        view = stream.view_type
        shows_new, shows_old = view in (NEW_IMAGE, NEW_AND_OLD_IMAGES), view in (OLD_IMAGE, NEW_AND_OLD_IMAGES)
        change_log.append(
            transaction,
            stream,
            event_name=event_name,
            partition=stored_at[_HASH_KEY],
            keys=key.text,
            new=new if shows_new else None,
            old=old if shows_old else None,
            size_bytes=key.size + (new_bytes if shows_new else 0) + (old_bytes if shows_old else 0),
            by_ttl=by_ttl,
        )
    if destination is not None:
        size_bytes = key.size + new_bytes + old_bytes
        change = StoredChange(event_name, key.text, new, old, transaction.now_us, size_bytes, by_ttl)
        kinesis_destinations.put_change(transaction, destination, table, stored_at[_PARTITION], change)
