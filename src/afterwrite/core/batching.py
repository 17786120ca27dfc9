"""Requests of remote targets: how many entries, and how many bytes, go into one (S29). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """An effect as its target sends it: `body` is the target's own form, `size_bytes` what its service counts."""

    id: str
    lane: str
    body: Any
    size_bytes: int


class Limits(NamedTuple):
    """What one request may hold, and how large one entry may be."""

    entries: int
    request_bytes: int
    entry_bytes: int


def requests(entries: Iterable[Entry], limits: Limits) -> Iterator[list[Entry]]:
    """The entries in their order, as few requests as the limits allow. An entry too large for any has its own."""
    request: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        if request and (len(request) == limits.entries or size_bytes + entry.size_bytes > limits.request_bytes):
            yield request
            request, size_bytes = [], 0
        request.append(entry)
        size_bytes += entry.size_bytes
    if request:
        yield request
