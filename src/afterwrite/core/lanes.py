"""Lanes: the unit of order. Within a lane strictly in order, across lanes in parallel.

A lane is named by text (the table and, by the table's declared order, the partition key, the item's keys, or the
change); `digest` is the short form that the store orders by. Two lanes with one digest, or one name, would merely
share their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Literal, TypeAlias, get_args

from afterwrite.core import json_text
from afterwrite.core.changes import Change

DIGEST_BYTES: Final = 8
# No JSON text has it in it.
_SEPARATOR: Final = b"\n"

Order: TypeAlias = Literal["partition_key", "item", "none"]
"""What stays in order: changes of one partition key, of one item only, or none."""
ORDERS: Final = get_args(Order)


def digest(lane: str) -> bytes:
    """The lane's 8-byte short form."""
    return hashlib.blake2b(lane.encode(), digest_size=DIGEST_BYTES).digest()


def lane_of(change: Change, partition_key: str) -> str:
    """The lane of a change that is ordered by its partition key."""
    return f"{change.table}/{change.keys[partition_key]}"


def lanes_by(order: Order, partition_key: str, sort_key: str | None) -> Callable[[Change], str]:
    """The lane of a change by an order; without a sort key the partition key is the item."""
    if order == "none":
        return lambda change: f"{change.table}/{change.keys[partition_key]}/{change.sequence_number or change.id}"
    if order == "item" and sort_key is not None:
        return lambda change: f"{change.table}/{change.keys[partition_key]}/{change.keys[sort_key]}"
    return lambda change: lane_of(change, partition_key)


def table_of(lane: str) -> str:
    """The table whose changes the lane orders; of the lane of a replayed event that had none, the bus."""
    return lane.partition("/")[0]


def with_lane(lane: str, text: bytes) -> bytes:
    """A JSON text as it is kept with the lane that it belongs to."""
    return json_text.dumps(lane) + _SEPARATOR + text


def lane_and_text(kept: bytes) -> tuple[str, bytes]:
    """Both again; of a text that is kept without a lane, the lane is empty."""
    lane, separator, text = kept.partition(_SEPARATOR)
    return (str(json_text.loads(lane)), text) if separator else ("", kept)
