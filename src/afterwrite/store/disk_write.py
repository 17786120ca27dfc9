"""Writing to a file while something else is done: the system says when it is durable."""

from __future__ import annotations

import ctypes
import weakref
from mmap import mmap

from afterwrite.accelerators import library


class DiskWrite:
    """Writes from the beginning of `source`, one at a time; `source` is not to be changed meanwhile."""

    def __init__(self, source: mmap) -> None:
        self._library = library()
        self._handle = None if self._library is None else self._library.disk_write_open()
        self._source = ctypes.addressof(ctypes.c_char.from_buffer(source))
        self._bytes = 0
        if self._library is not None and self._handle is not None:
            weakref.finalize(self, self._library.disk_write_close, self._handle)

    def begin(self, descriptor: int, size: int, at: int) -> bool:
        """Begin to write `size` bytes at `at`; False where that is not to be had here, and nothing was done."""
        if self._library is None or self._handle is None:
            return False
        begun = bool(self._library.disk_write_begin(self._handle, descriptor, self._source, size, at))
        self._bytes = size if begun else 0
        return begun

    def end(self) -> bool:
        """Wait for what was begun; whether all of it is durable. True where nothing was."""
        if self._library is None or not self._bytes:
            return True
        expected, self._bytes = self._bytes, 0
        return bool(self._library.disk_write_end(self._handle) == expected)
