"""Lanes: the unit of order. Within a lane strictly in order, across lanes in parallel.

A lane is named by text (the table and the item's partition key); `digest` is the short form that the store
orders by. Two lanes with one digest would merely share their order.
"""

from __future__ import annotations

import hashlib
from typing import Final

from afterwrite.core.changes import Change

DIGEST_BYTES: Final = 8


def digest(lane: str) -> bytes:
    """The lane's 8-byte short form."""
    return hashlib.blake2b(lane.encode(), digest_size=DIGEST_BYTES).digest()


def lane_of(change: Change, partition_key: str) -> str:
    """The lane of a change: its table and its partition key."""
    return f"{change.table}/{change.keys[partition_key]}"
