"""The journal: records that are whole are read again, in order, and nothing else is."""

from __future__ import annotations

import os
import resource
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from zlib import crc32

import pytest

from afterwrite.errors import CorruptData
from afterwrite.store.disk_write import DiskWrite
from afterwrite.store.journal import (
    BLOCK_BYTES,
    Entry,
    Journal,
    Known,
    checksum_of,
    deletion_entry,
    entries,
    put_entry,
    records,
)
from bounds import BOUND_S
from engine_process import wait_until


@pytest.fixture(params=["at once", "meanwhile"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journal]:
    """A journal each of whose records is written at once, or as large ones are."""
    monkeypatch.setattr("afterwrite.store.journal._BACKGROUND_BYTES_MIN", 1 << 30 if request.param == "at once" else 1)
    journal = Journal(tmp_path)
    yield journal
    journal.close()


def add(journal: Journal, number: int, size: int = 10) -> None:
    journal.begin(number, [*put_entry(3, b"key", b"%d" % number * size), *deletion_entry(4, b"gone")])
    journal.finish()


def numbers(directory: Path, after: int = 0) -> list[int]:
    return [record.number for record in records(directory, after)]


def segments(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.stem.isdecimal())


def test_records_are_read_as_they_were_written(journal: Journal, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        add(journal, number)
    found = {record.number: list(entries(record.body)) for record in records(tmp_path, 1)}
    assert found == {number: [Entry(3, b"key", b"%d" % number * 10), Entry(4, b"gone", None)] for number in (2, 3)}


def test_a_record_longer_than_a_file_gets_a_file_of_its_own(journal: Journal, tmp_path: Path) -> None:
    add(journal, 1)
    journal.begin(2, put_entry(3, b"key", bytes(20 << 20)))
    journal.finish()
    add(journal, 3)
    assert numbers(tmp_path) == [1, 2, 3]
    assert len(segments(tmp_path)) == 3


def test_files_are_followed_by_files_and_forgotten_when_all_of_them_is_older(journal: Journal, tmp_path: Path) -> None:
    for number in range(1, 400):
        add(journal, number, size=5000)
    assert len(segments(tmp_path)) > 2
    assert numbers(tmp_path) == list(range(1, 400))
    second = int(segments(tmp_path)[1].stem)
    journal.forget(second)
    assert numbers(tmp_path, second - 1) == list(range(second, 400))
    with pytest.raises(CorruptData, match="was deleted"):
        numbers(tmp_path)


def test_a_file_that_is_used_again_shows_nothing_of_what_it_held(journal: Journal, tmp_path: Path) -> None:
    journal.prepare()
    for number in range(1, 2000):
        add(journal, number, size=3000)
        if journal.is_filling:
            journal.begin_segment(number + 1)
            journal.forget(number + 1)
    assert numbers(tmp_path, 1998) == [1999]
    assert len(list(tmp_path.iterdir())) <= 3


def test_a_file_is_made_at_leisure_until_it_is_needed(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterwrite.store.journal._FILL_PAUSE_S", 3600.0)
    preparing = threading.Thread(target=journal.prepare, daemon=True)
    preparing.start()
    wait_until((tmp_path / "spare.tmp").exists)
    assert preparing.is_alive()
    add(journal, 1)
    preparing.join(BOUND_S)
    assert not preparing.is_alive()
    assert numbers(tmp_path) == [1]


@pytest.mark.parametrize("kept_bytes", [0, 3, 30, 5000])
def test_a_torn_record_is_the_end(journal: Journal, tmp_path: Path, kept_bytes: int) -> None:
    add(journal, 1)
    add(journal, 2, size=8000)
    (path,) = segments(tmp_path)
    content = bytearray(path.read_bytes())
    content[BLOCK_BYTES + kept_bytes :] = bytes(len(content) - BLOCK_BYTES - kept_bytes)
    path.write_bytes(content)
    assert numbers(tmp_path) == [1]


def test_a_damaged_record_before_a_whole_one_is_no_end(journal: Journal, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        add(journal, number)
    (path,) = segments(tmp_path)
    content = bytearray(path.read_bytes())
    content[BLOCK_BYTES + 40] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptData, match="expected the record 2"):
        numbers(tmp_path)


def test_records_of_another_journal_are_not_taken_for_what_followed(journal: Journal, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other")
    checksums = [journal.checksum]
    for number in range(1, 6):
        add(journal, number)
        add(other, number)
        checksums.append(journal.checksum)
    other.close()
    for known in map(Known, range(6), checksums):
        assert [each.number for each in records(tmp_path, known.number, known)] == list(range(known.number + 1, 6))
        with pytest.raises(CorruptData, match="another journal"):
            list(records(tmp_path / "other", known.number, known))
    assert [checksum_of(tmp_path, number, Known(0, checksums[0])) for number in range(6)] == checksums
    assert checksum_of(tmp_path, 6, Known(0, checksums[0])) is None


def test_records_that_others_were_written_after_are_not_taken_for_those(journal: Journal, tmp_path: Path) -> None:
    older = tmp_path / "older"
    for number in range(1, 4):
        add(journal, number)
    shutil.copytree(tmp_path, older, ignore=shutil.ignore_patterns("older"))
    journal.take_back()
    add(journal, 3, size=20)
    with pytest.raises(CorruptData, match="older one"):
        list(records(older, 3, Known(3, journal.checksum)))


def test_a_journal_of_the_older_form_is_read_and_goes_on_in_the_newer_one(journal: Journal, tmp_path: Path) -> None:
    older = Struct(">4sIQQ")
    body = b"".join(put_entry(3, b"key", b"1"))
    header = older.pack(b"AWJ1", 0, len(body), 1)
    header = header[:4] + crc32(header[8:] + body).to_bytes(4, "big") + header[8:]
    (tmp_path / f"{1:020d}.journal").write_bytes(header + body + bytes(BLOCK_BYTES - len(header) - len(body)))
    checksum = checksum_of(tmp_path, 1, Known(0, None))
    assert checksum is not None
    journal.checksum = checksum
    journal.begin_segment(2)
    add(journal, 2)
    assert numbers(tmp_path) == [1, 2]
    assert [each.number for each in records(tmp_path, 1, Known(1, checksum))] == [2]


def test_a_record_that_is_taken_back_was_never_there(journal: Journal, tmp_path: Path) -> None:
    add(journal, 1)
    add(journal, 2, size=9000)
    journal.take_back()
    assert numbers(tmp_path) == [1]
    add(journal, 2)
    assert numbers(tmp_path) == [1, 2]


def test_a_record_is_taken_back_while_it_is_written(journal: Journal, tmp_path: Path) -> None:
    add(journal, 1)
    journal.begin(2, put_entry(3, b"key", bytes(50_000)))
    journal.take_back()
    add(journal, 2, size=5)
    assert [(record.number, len(record.body) < 100) for record in records(tmp_path, 1)] == [(2, True)]


def test_a_record_that_was_not_written_meanwhile_is_written_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskWrite, "begin", lambda *_: True)
    monkeypatch.setattr(DiskWrite, "end", lambda _: False)
    journal = Journal(tmp_path)
    assert journal.begin(1, put_entry(3, b"key", bytes(50_000)))
    assert numbers(tmp_path) == []
    journal.finish()
    assert numbers(tmp_path) == [1]
    journal.close()


def test_nothing_is_added_before_a_failed_record_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    add(journal, 1)

    def fail(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            add(journal, 2)
        with pytest.raises(OSError, match="Input/output error"):
            add(journal, 2, size=5)
    assert numbers(tmp_path) == [1]
    add(journal, 2, size=7)
    assert [len(record.body) for record in records(tmp_path, 1)] == [len(b"".join(put_entry(3, b"key", b"2" * 7))) + 11]
    journal.close()


def test_a_journal_whose_file_is_missing_is_no_empty_one(journal: Journal, tmp_path: Path) -> None:
    add(journal, 1)
    journal.close()
    for path in segments(tmp_path):
        path.unlink()
    with pytest.raises(CorruptData, match="found no file"):
        numbers(tmp_path)


@pytest.fixture
def room_for_a_mebibyte() -> Iterator[None]:
    """No file of this process grows beyond it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("room_for_a_mebibyte")
def test_where_there_is_no_room_for_a_large_file_it_goes_on_in_small_ones(journal: Journal, tmp_path: Path) -> None:
    for number in range(1, 61):
        add(journal, number, size=50_000)
        journal.prepare()
    assert numbers(tmp_path) == list(range(1, 61))
    assert max(path.stat().st_size for path in segments(tmp_path)) == 1 << 20


@pytest.mark.usefixtures("room_for_a_mebibyte")
def test_a_file_stays_where_there_is_no_room_for_the_larger_one_in_its_place(journal: Journal, tmp_path: Path) -> None:
    journal.begin_segment(1)
    with pytest.raises(OSError, match="File too large"):
        add(journal, 1, size=2 << 20)
    add(journal, 1)
    assert numbers(tmp_path) == [1]


def test_nothing_is_added_to_a_file_that_was_replaced(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.begin_segment(1)

    def fail(_path: Path) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as failing:
        failing.setattr("afterwrite.store.journal._open_to_write", fail)
        with pytest.raises(OSError, match="Too many open files"):
            journal.begin_segment(1)
    add(journal, 1)
    assert numbers(tmp_path) == [1]


def test_no_file_is_begun_before_a_failed_record_is_taken_back(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(journal, 1)
    add(journal, 2)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(Journal, "_write", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.take_back()
        with pytest.raises(OSError, match="Input/output error"):
            journal.begin_segment(2)
    journal.begin_segment(2)
    add(journal, 2, size=5)
    add(journal, 3)
    assert numbers(tmp_path) == [1, 2, 3]
