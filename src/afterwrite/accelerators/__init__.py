"""What is done in C where Python would take too long; each has a way in Python that does the same.

The library is made when the package is installed, by the C compiler that is found; it needs nothing of Python's. Where
there is none, or one that was made of other sources than are here, `library` answers None and everything works as it
does with it, slower.
"""

from __future__ import annotations

import ctypes
import logging
from functools import cache
from pathlib import Path

from afterwrite.accelerators.sources import number_of

_LOG = logging.getLogger("afterwrite")

PATH = Path(__file__).with_name("accelerators.so")


def sources_of_library() -> int | None:
    """The number of the sources that the library was made of; 0 where it does not say, None where it cannot."""
    try:
        told = ctypes.CDLL(str(PATH)).accelerators_sources
    except AttributeError:
        return None
    told.restype = ctypes.c_uint64
    return int(told())


@cache
def _is_usable() -> bool:
    """Whether the library was made, and of the sources that are here; one that does not say is believed."""
    if not PATH.exists():
        return False
    if sources_of_library() in (0, number_of(PATH.parent)):
        return True
    _LOG.warning("%s was made of other sources: install afterwrite again; without it all works, but slower", PATH)
    return False


@cache
def library() -> ctypes.CDLL | None:
    """The library, None where it was not made."""
    if not _is_usable():
        return None
    found = ctypes.CDLL(str(PATH))
    size = ctypes.c_size_t
    found.front_open.argtypes = [ctypes.c_int, ctypes.c_int, size, size, *[ctypes.c_int64] * 3, ctypes.c_int]
    found.front_open.restype = ctypes.c_void_p
    found.front_take.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(size)]
    found.front_take.restype = ctypes.c_void_p
    found.front_answer.argtypes = [ctypes.c_void_p, ctypes.c_char_p, size]
    found.front_answer.restype = ctypes.c_bool
    for count in (found.front_open_count, found.front_asked_count):
        count.argtypes = [ctypes.c_void_p]
        count.restype = ctypes.c_uint32
    for function in (found.front_stop, found.front_close):
        function.argtypes = [ctypes.c_void_p]
        function.restype = None
    address = ctypes.c_void_p
    found.disk_write_open.restype = address
    found.disk_write_close.argtypes = [address]
    found.disk_write_close.restype = None
    found.disk_write_begin.argtypes = [address, ctypes.c_int, address, size, ctypes.c_int64]
    found.disk_write_begin.restype = ctypes.c_bool
    found.disk_write_end.argtypes = [address]
    found.disk_write_end.restype = ctypes.c_int64
    text = (ctypes.c_char_p, size)
    found.plain_items.argtypes = [*text, *text, *text, ctypes.c_void_p, size, ctypes.c_uint32]
    found.plain_items.restype = ctypes.c_uint32
    return found


@cache
def quick_library() -> ctypes.PyDLL | None:
    """The library for calls that are done at once, and so keep Python's lock; None where it was not made."""
    if not _is_usable():
        return None
    found = ctypes.PyDLL(str(PATH))
    size = ctypes.c_size_t
    address, number = ctypes.c_void_p, ctypes.c_uint32
    found.plain_put.argtypes = [ctypes.c_char_p, size, ctypes.c_char_p, size, address, size]
    found.plain_put.restype = ctypes.c_bool
    found.plain_puts.argtypes = [*found.plain_put.argtypes, number]
    found.plain_puts.restype = number
    found.take_writes.argtypes = [address, size, address]
    found.take_writes.restype = None
    found.plain_write.argtypes = [address, ctypes.c_int, ctypes.c_char_p, size, address, size, address]
    found.plain_write.restype = size
    found.plain_batch_places.argtypes = [ctypes.c_char_p, number, address]
    found.plain_batch_places.restype = None
    texts = [ctypes.c_char_p] * 3
    found.plain_batch_write.argtypes = [ctypes.c_char_p, number, *texts, address, ctypes.c_char_p, address, size]
    found.plain_batch_write.restype = size
    return found
