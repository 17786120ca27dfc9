"""Numbers given to names, so that keys stay short: a queue's, a buffer's, a consumer's, a bus's."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from afterwrite.store.environment import ReadTransaction, WriteTransaction

U32 = struct.Struct(">I")
U64 = struct.Struct(">Q")


def number_of(transaction: ReadTransaction, kind: str, name: str) -> int | None:
    """The number of `name` among its kind, None where it has none yet."""
    if isinstance(transaction, WriteTransaction) and (known := _known(transaction).get((kind, name))) is not None:
        return known
    raw = transaction.get("names", f"{kind}\0{name}".encode())
    return U32.unpack(raw)[0] if raw else None


def ensure_number(transaction: WriteTransaction, kind: str, name: str) -> int:
    """The number of `name` among its kind, given now where it has none yet.

    Numbers never change, so those once seen are kept in memory; with the commit, as one given now may be undone.
    """
    known = _known(transaction)
    found = known.get((kind, name))
    if found is None:
        found = number_of(transaction, kind, name)
        if found is None:
            found = transaction.advance("names")
            transaction.put("names", f"{kind}\0{name}".encode(), U32.pack(found))
        transaction.remember("numbers", {**known, (kind, name): found})
    return found


def _known(transaction: WriteTransaction) -> Mapping[tuple[str, str], int]:
    known: Mapping[tuple[str, str], int] = transaction.state.get("numbers", {})
    return known


def names(transaction: ReadTransaction, kind: str) -> dict[str, int]:
    """Every name of a kind with its number."""
    start = f"{kind}\0".encode()
    return {
        key[len(start) :].decode(): U32.unpack(value)[0]
        for key, value in transaction.scan("names", start, start[:-1] + b"\x01")
    }


def span(number: int) -> tuple[bytes, bytes]:
    """The range of all keys that start with `number`."""
    return U32.pack(number), U32.pack(number + 1)
