"""Early writing: changed pages are written before anybody syncs them."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path

import pytest

from afterwrite.store.early_writing import begin_writing
from bounds import BOUND_S

BYTES = 1 << 20


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "written", "evicted", "recently_evicted"))


def dirty_pages(descriptor: int) -> int | None:
    """How many of the file's pages the system has not begun to write, None where it does not tell (Linux 6.5 does)."""
    pages = _Pages()
    cachestat = 451
    whole = _Range(0, 0)
    refused = ctypes.CDLL(None).syscall(cachestat, descriptor, ctypes.byref(whole), ctypes.byref(pages), 0)
    return None if refused else pages.dirty


def test_changed_pages_are_written_without_a_sync(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(descriptor, b"x" * BYTES, 0)
        if not dirty_pages(descriptor):
            pytest.skip("needs a system that tells of changed pages, and a disk they wait for")
        begin_writing(descriptor)
        deadline_s = time.monotonic() + BOUND_S
        while dirty_pages(descriptor) and time.monotonic() < deadline_s:
            os.sched_yield()
        assert dirty_pages(descriptor) == 0
    finally:
        os.close(descriptor)


def test_a_file_that_cannot_be_written_is_left_to_the_sync(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        begin_writing(read_end)
    finally:
        os.close(read_end)
        os.close(write_end)
