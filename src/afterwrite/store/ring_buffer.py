"""A ring buffer in memory that forked processes share: one process writes pieces, the other reads them in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from mmap import mmap
from typing import Final, NamedTuple

_COUNTER_BYTES: Final = 8


class Piece(NamedTuple):
    """Where a piece is: to be told to the process that reads."""

    number: int
    at: int
    size: int


class RingBuffer:
    """Room for `size` bytes of pieces. To be made before the fork.

    Whoever writes says by other means which piece is to be read; a piece's room is free again once it was read. What is
    read soon begins at the front each time, so that no more of the memory is in use than lies in it at once.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._memory = mmap(-1, size + _COUNTER_BYTES)
        # Aligned stores of eight bytes: who reads one finds the number before or the one after.
        self._last_read = memoryview(self._memory)[size:].cast("Q")
        self._last_written = 0
        self._unread: deque[Piece] = deque()  # as far as the writer knows

    def write(self, content: bytes) -> Piece | None:
        """Write a piece; None where there is no room for it now. For one thread at a time, of the one process."""
        size = len(content)
        at = self._free_for(size)
        if at is None:
            return None
        self._memory[at : at + size] = content
        self._last_written += 1
        piece = Piece(self._last_written, at, size)
        self._unread.append(piece)
        return piece

    @contextmanager
    def read(self, piece: Piece) -> Iterator[memoryview]:
        """The bytes of a piece, the one after the last; afterwards its room is free. For the other process."""
        try:
            with memoryview(self._memory) as memory, memory[piece.at : piece.at + piece.size] as content:
                yield content
        finally:
            self._last_read[0] = piece.number

    def _free_for(self, size: int) -> int | None:
        """Where `size` bytes in a row are free."""
        unread = self._unread
        while unread and unread[0].number <= self._last_read[0]:
            unread.popleft()
        if not unread:
            return 0 if size <= self._size else None
        begin, end = unread[0].at, unread[-1].at + unread[-1].size
        if end <= begin:  # what is unread goes round the end
            return end if size <= begin - end else None
        if size <= self._size - end:
            return end
        return 0 if size <= begin else None
