"""A write that the system carries out meanwhile: what was begun is there at its end, and a failure is told."""

from __future__ import annotations

import os
import resource
from mmap import mmap
from pathlib import Path

import pytest

from afterwrite.accelerators import library
from afterwrite.store import disk_write
from afterwrite.store.disk_write import DiskWrite

BLOCK = 4096


@pytest.fixture
def source() -> mmap:
    source = mmap(-1, 4 * BLOCK)
    source[:] = os.urandom(4 * BLOCK)
    return source


@pytest.fixture
def writing(source: mmap) -> DiskWrite:
    writing = DiskWrite(source)
    if library() is None:
        pytest.skip("the library in C was not made: there was no C compiler when afterwrite was installed")
    if writing._handle is None:
        pytest.skip("the system refuses asynchronous I/O (io_setup), so records are written at once here")
    return writing


def test_what_was_begun_is_in_the_file_at_its_end(tmp_path: Path, source: mmap, writing: DiskWrite) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(8 * BLOCK))
    descriptor = os.open(path, os.O_RDWR)
    for blocks, at in ((4, 0), (1, 6)):
        assert writing.begin(descriptor, blocks * BLOCK, at * BLOCK)
        assert writing.end()
    os.close(descriptor)
    assert path.read_bytes() == source[:] + bytes(2 * BLOCK) + source[:BLOCK] + bytes(BLOCK)


def test_nothing_is_begun_on_a_file_that_cannot_be_written_to(tmp_path: Path, source: mmap) -> None:
    (tmp_path / "file").write_bytes(bytes(BLOCK))
    writing = DiskWrite(source)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    assert not writing.begin(descriptor, BLOCK, 0)
    assert writing.end()
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == bytes(BLOCK)


def test_a_write_that_has_no_room_says_so_at_its_end(tmp_path: Path, writing: DiskWrite) -> None:
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BLOCK, hard))
    try:
        assert writing.begin(descriptor, 2 * BLOCK, 0)
        assert not writing.end()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        os.close(descriptor)


def test_without_the_library_nothing_is_begun(tmp_path: Path, source: mmap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_write, "library", lambda: None)
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert not DiskWrite(source).begin(descriptor, BLOCK, 0)
    os.close(descriptor)
