"""Buffers become files, each record exactly once, wherever the process dies: the lake and the audit log alike."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afterwrite import App
from afterwrite.core.ports import Sink
from afterwrite.errors import StorageError, StorageFull
from afterwrite.local import delivery_streams, lake
from afterwrite.local.audit import files, logs, verification
from afterwrite.local.audit.files import AuditFiles
from afterwrite.local.audit.logs import AuditSink
from afterwrite.local.delivery_streams import LakeSink
from afterwrite.local.file_buffers import audit_buffer, flush_at_ms, lake_buffer
from afterwrite.store import buffers
from afterwrite.store.buffers import Fill, NewRecord
from afterwrite.store.environment import Environment
from embedded import START_MS, Clock, open_store

app = App("a")
facts = app.delivery_stream("facts", buffer_seconds=10, buffer_mib=1)
trail = app.audit_log("trail")


class Crash(Exception):
    """The process died here."""


class Kind(Protocol):
    """One way from a buffer to files."""

    buffer: str
    crash_points: tuple[str, ...]

    def open(self, environment: Environment, directory: Path) -> Sink: ...

    def ids(self, environment: Environment, directory: Path) -> list[str]:
        """The ids in the files, in order."""
        ...

    def crash_at(self, point: str, monkeypatch: pytest.MonkeyPatch) -> None: ...


def crash_before(original: Callable[..., Any]) -> Callable[..., Any]:
    def crashing(*_: Any, **__: Any) -> Any:
        raise Crash

    return crashing


def crash_after(original: Callable[..., Any]) -> Callable[..., Any]:
    def crashing(*arguments: Any, **fields: Any) -> Any:
        original(*arguments, **fields)
        raise Crash

    return crashing


class Lake:
    """A delivery stream's Parquet files."""

    buffer = lake_buffer("facts")
    crash_points: tuple[str, ...] = ("before-plan", "before-files", "half-a-file", "after-files", "before-removal")

    def open(self, environment: Environment, directory: Path) -> Sink:
        return LakeSink(environment, facts, directory / "lake")

    def ids(self, environment: Environment, directory: Path) -> list[str]:
        return [row["id"] for row in lake.read(directory / "lake", "facts")]

    def crash_at(self, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
        module: Any = delivery_streams
        if point == "before-plan":
            monkeypatch.setattr(module.buffers, "set_plan", crash_before(buffers.set_plan))
        elif point == "before-files":
            monkeypatch.setattr(module.lake, "write_batch", crash_before(lake.write_batch))
        elif point == "half-a-file":
            monkeypatch.setattr(Path, "replace", crash_before(Path.replace))
        elif point == "after-files":
            monkeypatch.setattr(module.lake, "write_batch", crash_after(lake.write_batch))
        else:
            monkeypatch.setattr(module.buffers, "remove_through", crash_before(buffers.remove_through))


class Audit:
    """An audit log's segments."""

    buffer = audit_buffer("trail")
    crash_points: tuple[str, ...] = ("before-files", "after-files", "before-removal")

    def open(self, environment: Environment, directory: Path) -> Sink:
        return AuditSink(environment, trail, directory / "audit")

    def ids(self, environment: Environment, directory: Path) -> list[str]:
        with environment.read() as transaction:
            head = logs.head_of(transaction, "trail")
        assert not list(verification.verify(directory / "audit", head).faults)
        return [entry["id"] for entry in files.read_entries(directory / "audit", head)]

    def crash_at(self, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if point == "before-files":
            monkeypatch.setattr(AuditFiles, "append", crash_before(AuditFiles.append))
        elif point == "after-files":
            monkeypatch.setattr(AuditFiles, "append", crash_after(AuditFiles.append))
        else:
            # Nobody cleans up after a process that died.
            monkeypatch.setattr(buffers, "remove_through", crash_before(buffers.remove_through))
            monkeypatch.setattr(AuditFiles, "open", lambda *_: None)


KINDS: list[Kind] = [Lake(), Audit()]


@pytest.fixture(params=KINDS, ids=["lake", "audit"])
def kind(request: pytest.FixtureRequest) -> Kind:
    each: Kind = request.param
    return each


def add(environment: Environment, kind: Kind, first: int, count: int) -> list[str]:
    ids = [f"c{number:04}/r/0" for number in range(first, first + count)]
    for number, id in enumerate(ids, first):
        text = b'{"n":%d}' % number
        records = [NewRecord(id, START_MS + number * 60_000, text)]
        environment.write(partial(buffers.add, buffer=kind.buffer, records=records))
    return ids


def flush_all(sink: Sink) -> int:
    count = 0
    while flushed := sink.flush():
        count += flushed
    return count


def test_what_waits_reaches_the_files_once_and_in_order(kind: Kind, environment: Environment, tmp_path: Path) -> None:
    sink = kind.open(environment, tmp_path)
    ids = add(environment, kind, 0, 5)
    assert flush_all(sink) == 5
    ids += add(environment, kind, 5, 3)
    assert flush_all(sink) == 3
    assert flush_all(sink) == 0
    assert kind.ids(environment, tmp_path) == ids
    with environment.read() as transaction:
        assert buffers.fill(transaction, kind.buffer) == Fill(0, 0, None)


CRASHES = [(kind, point) for kind in KINDS for point in kind.crash_points]


@pytest.mark.parametrize(("kind", "point"), CRASHES, ids=[f"{type(kind).__name__}-{point}" for kind, point in CRASHES])
def test_a_crash_at_any_point_loses_and_repeats_nothing(
    kind: Kind, point: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = open_store(tmp_path / "s", clock)
    sink = kind.open(environment, tmp_path)
    ids = add(environment, kind, 0, 3)
    flush_all(sink)
    ids += add(environment, kind, 3, 4)
    with monkeypatch.context() as patch:
        kind.crash_at(point, patch)
        with pytest.raises(Crash):
            sink.flush()
    environment.close()
    # What arrives meanwhile joins no range that was begun.
    environment = open_store(tmp_path / "s", clock)
    ids += add(environment, kind, 7, 2)
    again = kind.open(environment, tmp_path)
    assert flush_all(again) == 6
    assert kind.ids(environment, tmp_path) == ids
    assert [path.name for path in tmp_path.glob("**/*.tmp")] == []
    environment.close()


def test_a_sink_whose_commit_failed_goes_on_by_itself(
    kind: Kind, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = kind.open(environment, tmp_path)
    ids = add(environment, kind, 0, 3)

    def full(*_: Any, **__: Any) -> Any:
        raise StorageFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(buffers, "remove_through", full)
        for _ in range(2):
            with pytest.raises(StorageFull):
                sink.flush()
    ids += add(environment, kind, 3, 1)
    assert flush_all(sink) == 4
    assert kind.ids(environment, tmp_path) == ids


def test_a_log_goes_on_after_a_failure_from_which_it_could_not_go_back(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Audit()
    sink = kind.open(environment, tmp_path)
    ids = add(environment, kind, 0, 2)

    def no_descriptors(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", no_descriptors)
        for _ in range(2):
            with pytest.raises(StorageError):
                sink.flush()
    assert flush_all(sink) == 2
    assert kind.ids(environment, tmp_path) == ids


def test_a_plan_is_flushed_at_once_after_a_restart(
    environment: Environment, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = Lake()
    sink = kind.open(environment, tmp_path)
    add(environment, kind, 0, 1)
    assert sink.next_flush_ms(clock.now_ms) == clock.now_ms + 10_000
    with monkeypatch.context() as patch:
        kind.crash_at("before-files", patch)
        with pytest.raises(Crash):
            sink.flush()
    assert kind.open(environment, tmp_path).next_flush_ms(clock.now_ms) == clock.now_ms


def test_an_empty_buffer_is_never_due(kind: Kind, environment: Environment, clock: Clock, tmp_path: Path) -> None:
    sink = kind.open(environment, tmp_path)
    assert sink.next_flush_ms(clock.now_ms) is None
    assert sink.flush() == 0


@pytest.mark.parametrize(
    ("fill", "at_ms"),
    [
        (Fill(0, 0, None), None),
        (Fill(1, 10, 1_000), 11_000),
        (Fill(1, 99, 1_000), 11_000),
        (Fill(2, 100, 1_000), 5_000),
        (Fill(2, 101, 4_999), 5_000),
        # The clock was set back since: it is not waited for.
        (Fill(1, 10, 9_000_000), 5_000),
    ],
)
def test_buffers_are_flushed_by_time_or_size_s34(fill: Fill, at_ms: int | None) -> None:
    assert flush_at_ms(fill, buffer_seconds=10, buffer_bytes=100, now_ms=5_000) == at_ms


def test_a_full_buffer_is_flushed_in_batches_of_its_size(
    environment: Environment, clock: Clock, tmp_path: Path
) -> None:
    sink = Lake().open(environment, tmp_path)
    text = b'{"x":"%s"}' % (b"y" * 300_000)
    for number in range(8):
        records = [NewRecord(f"id{number}", START_MS, text)]
        environment.write(partial(buffers.add, buffer=Lake.buffer, records=records))
    assert sink.next_flush_ms(clock.now_ms) == clock.now_ms
    assert [sink.flush(), sink.flush(), sink.flush(), sink.flush()] == [3, 3, 2, 0]
    assert Lake().ids(environment, tmp_path) == [f"id{number}" for number in range(8)]


def test_a_log_drops_what_it_need_not_retain(environment: Environment, tmp_path: Path) -> None:
    short = App("b").audit_log("trail", retain_days=1)
    sink = AuditSink(environment, short, tmp_path / "audit")
    for day in range(4):
        records = [NewRecord(f"day{day}", START_MS + day * 86_400_000, b"{}")]
        environment.write(partial(buffers.add, buffer=Audit.buffer, records=records))
        flush_all(sink)
    kept = Audit().ids(environment, tmp_path)
    assert kept[-1] == "day3"
    assert "day0" not in kept


@pytest.mark.parametrize("number", [b"1", b"12345678901234567890"])
@pytest.mark.parametrize("depth", [300, 900, 1_000, 100_000])
def test_a_record_that_nests_too_deeply_for_the_lake_holds_nobody_up(
    environment: Environment, tmp_path: Path, depth: int, number: bytes
) -> None:
    lake_kind = Lake()
    sink = lake_kind.open(environment, tmp_path)
    deep = b'{"n":%b,"deep":%b%b}' % (number, b"[" * depth, b"]" * depth)
    records = [NewRecord("deep", START_MS, deep), NewRecord("flat", START_MS, b'{"n":2}')]
    environment.write(partial(buffers.add, buffer=lake_kind.buffer, records=records))
    assert flush_all(sink) == 2
    rows = [row["id"] for row in lake.read(tmp_path / "lake", "facts")]
    failed = [orjson.loads(path.read_bytes())["id"] for path in tmp_path.glob("lake/facts/_failed/*.jsonl")]
    assert sorted(rows + failed) == ["deep", "flat"]
    assert "flat" in rows


def test_few_records_that_the_lake_cannot_hold_are_found_among_thousands_without_a_file_for_each(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_kind = Lake()
    sink = lake_kind.open(environment, tmp_path)
    texts = [b'{"n":%d}' % number for number in range(3_000)]
    for number in (7, 8, 2_999):
        texts[number] = b'{"n":12345678901234567890,"text":"\\ud800"}'
    records = [NewRecord(f"id{number}", START_MS, text) for number, text in enumerate(texts)]
    environment.write(partial(buffers.add, buffer=lake_kind.buffer, records=records))
    written: list[int] = []
    write_table = pq.write_table

    def counted(table: Any, *arguments: Any, **options: Any) -> None:
        written.append(table.num_rows)
        write_table(table, *arguments, **options)

    monkeypatch.setattr(pq, "write_table", counted)
    assert flush_all(sink) == 3_000
    assert len(written) < 100
    assert len(list(lake.read(tmp_path / "lake", "facts"))) == 2_997
    (path,) = tmp_path.glob("lake/facts/_failed/*.jsonl")
    assert [orjson.loads(line)["id"] for line in path.read_bytes().splitlines()] == ["id7", "id8", "id2999"]


def test_a_shortage_of_memory_is_no_fault_of_the_records(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_kind = Lake()
    sink = lake_kind.open(environment, tmp_path)
    ids = add(environment, lake_kind, 1, 3)

    def out_of_memory(*_: Any, **__: Any) -> None:
        raise pa.ArrowMemoryError("realloc failed")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", out_of_memory)
        with pytest.raises(MemoryError):
            sink.flush()
    assert flush_all(sink) == 3
    assert lake_kind.ids(environment, tmp_path) == ids


@pytest.mark.parametrize("text", [b"[]", b'""', b"[{}]", b"null", b"1", b'"n"', b"true"])
def test_a_record_that_is_no_object_leaves_the_others_their_place(
    environment: Environment, tmp_path: Path, text: bytes
) -> None:
    lake_kind = Lake()
    sink = lake_kind.open(environment, tmp_path)
    records = [NewRecord(f"id{number}", START_MS, each) for number, each in enumerate([b'{"n":1}', text, b'{"n":2}'])]
    environment.write(partial(buffers.add, buffer=lake_kind.buffer, records=records))
    assert flush_all(sink) == 3
    assert [(row["id"], row["n"]) for row in lake.read(tmp_path / "lake", "facts")] == [("id0", 1), ("id2", 2)]
    (path,) = tmp_path.glob("lake/facts/_failed/*.jsonl")
    assert [orjson.loads(line)["id"] for line in path.read_bytes().splitlines()] == ["id1"]


def test_a_record_that_the_lake_cannot_hold_is_kept_beside_it_and_holds_nobody_up(
    environment: Environment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake_kind = Lake()
    sink = lake_kind.open(environment, tmp_path)
    texts = [b'{"n":1}', b'{"n":1E400}', b"[1,2]", b'{"n":', b'{"n":2}']
    records = [NewRecord(f"id{number}", START_MS, text) for number, text in enumerate(texts)]
    environment.write(partial(buffers.add, buffer=lake_kind.buffer, records=records))
    assert flush_all(sink) == 5
    assert [(row["id"], row["n"]) for row in lake.read(tmp_path / "lake", "facts")] == [("id0", 1), ("id4", 2)]
    (path,) = tmp_path.glob("lake/facts/_failed/*.jsonl")
    kept = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert sorted((each["sequence"], each["id"], each["text"]) for each in kept) == [
        (2, "id1", '{"n":1E400}'),
        (3, "id2", "[1,2]"),
        (4, "id3", '{"n":'),
    ]
    assert all(each["error"] for each in kept)
    (logged,) = [each.__dict__["fields"] for each in caplog.records if each.levelname == "ERROR"]
    assert (logged["stream"], logged["records"], logged["file"]) == ("facts", 3, str(path))
