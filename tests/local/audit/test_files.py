"""The audit log's files: one chain, the same files through any crash, nothing of a failed append."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.errors import CorruptData, InvalidValue, StorageError, StorageFull
from afterwrite.local.audit import files as audit_files
from afterwrite.local.audit.files import (
    EMPTY_HEAD,
    AuditEntry,
    AuditFiles,
    AuditHead,
    drop_before,
    read_entries,
)
from afterwrite.local.audit.verification import verify
from local.audit.log_cases import (
    AT_MS,
    BATCHES,
    ENTRIES,
    SEGMENT_BYTES_MAX,
    contents,
    make_entry,
    write_log,
)

BEFORE_MIDNIGHT, AFTER_MIDNIGHT = date(2026, 11, 21), date(2026, 11, 22)


def opened(directory: Path, head: AuditHead = EMPTY_HEAD) -> AuditFiles:
    files = AuditFiles(directory, segment_bytes_max=SEGMENT_BYTES_MAX)
    files.open(head)
    return files


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_line_is_an_object_whose_hash_covers_the_bytes_before_it(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.append([AuditEntry("e1/route/0", AT_MS + 7, {"b": Decimal("1.50"), "a": b"\x01"})])
    head = files.append([AuditEntry("e2/route/0", AT_MS, {})])
    files.close()
    first, second = (tmp_path / "audit-00000000000000000001.jsonl").read_bytes().splitlines(keepends=True)
    covered = (
        b'{"n":1,"id":"e1/route/0","at":"2026-11-21T23:58:20.007Z","entry":{"a":"AQ==","b":1.50},'
        b'"prev":"' + b"0" * 64 + b'"'
    )
    digest = hashlib.sha256(covered).hexdigest()
    assert first == covered + b',"hash":"' + digest.encode() + b'"}\n'
    assert json.loads(second)["prev"] == digest
    assert head == AuditHead(
        2, json.loads(second)["hash"], "audit-00000000000000000001.jsonl", len(first) + len(second)
    )


def test_an_entry_given_as_json_text_is_taken_over_as_it_is(tmp_path: Path) -> None:
    files = opened(tmp_path)
    head = files.append([AuditEntry("e1", AT_MS, b'{"b":1.50,"a":null}')])
    with pytest.raises(InvalidValue, match="on one line"):
        files.append([AuditEntry("e2", AT_MS, b"{\n}")])
    files.close()
    assert b'"entry":{"b":1.50,"a":null},"prev"' in (tmp_path / head.segment).read_bytes()
    assert verify(tmp_path, head).entries == 1


def test_entries_come_back_in_order_with_exact_numbers(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    entries = list(read_entries(tmp_path))
    assert [entry["n"] for entry in entries] == list(range(1, 25))
    assert [entry["id"] for entry in entries] == [entry.id for entry in ENTRIES]
    assert entries[4]["entry"]["new"] == {"turn_count": 5, "text": "ééééé"}
    assert list(read_entries(tmp_path, head)) == entries


def test_reading_up_to_a_head_leaves_out_what_came_later(tmp_path: Path) -> None:
    files = opened(tmp_path)
    head = files.append(ENTRIES[:5])
    files.append(ENTRIES[5:])
    files.close()
    with max(tmp_path.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"n":25,"id"')
    assert [entry["n"] for entry in read_entries(tmp_path, head)] == [1, 2, 3, 4, 5]
    assert len(list(read_entries(tmp_path))) == 24


def test_a_segment_ends_where_it_is_full_and_where_the_day_ends(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    segments = sorted(tmp_path.glob("*.jsonl"))
    days = []
    for path in segments:
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert path.name == f"audit-{lines[0]['n']:020d}.jsonl"
        assert path.stat().st_size <= SEGMENT_BYTES_MAX
        days.append({line["at"][:10] for line in lines})
    assert days == sorted([{"2026-11-21"}] * 3 + [{"2026-11-22"}] * (len(segments) - 3), key=str)
    assert head.segment == segments[-1].name
    assert [path.stat().st_mode & 0o777 for path in segments] == [0o444] * (len(segments) - 1) + [0o644]


def test_an_entry_older_than_its_segment_opens_no_new_one(tmp_path: Path) -> None:
    midnight = 1_795_305_600_000
    times = [midnight, midnight - 1, midnight + 1, midnight - 2]
    write_log(tmp_path, [make_entry(n, at_ms=at) for n, at in enumerate(times, 1)])
    assert names(tmp_path) == ["audit-00000000000000000001.jsonl"]


def test_an_entry_larger_than_a_segment_has_one_to_itself(tmp_path: Path) -> None:
    large = AuditEntry("large", AT_MS, {"text": "x" * 2 * SEGMENT_BYTES_MAX})
    write_log(tmp_path, [make_entry(1), large, make_entry(3)])
    assert [path.name for path in sorted(tmp_path.glob("*.jsonl"))] == [
        f"audit-{number:020d}.jsonl" for number in (1, 2, 3)
    ]
    assert verify(tmp_path).faults == []


def test_a_seal_tells_what_the_segment_holds_and_names_the_seal_before(tmp_path: Path) -> None:
    write_log(tmp_path)
    previous_seal = previous_hash = "0" * 64
    seals = sorted(tmp_path.glob("*.seal.json"))
    assert len(seals) == len(list(tmp_path.glob("*.jsonl"))) - 1
    for path in seals:
        seal = json.loads(path.read_bytes())
        segment = (tmp_path / seal["segment"]).read_bytes()
        lines = [json.loads(line) for line in segment.splitlines()]
        assert seal == {
            "segment": path.name.replace(".seal.json", ".jsonl"),
            "day": lines[0]["at"][:10],
            "first": lines[0]["n"],
            "last": lines[-1]["n"],
            "count": len(lines),
            "first_prev": previous_hash,
            "last_hash": lines[-1]["hash"],
            "bytes": len(segment),
            "sha256": hashlib.sha256(segment).hexdigest(),
            "previous_seal": previous_seal,
        }
        assert path.stat().st_mode & 0o777 == 0o444
        previous_seal = hashlib.sha256(path.read_bytes()).hexdigest()
        previous_hash = lines[-1]["hash"]


@given(st.lists(st.integers(1, 24), max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_files_do_not_depend_on_the_batches(tmp_path_factory: pytest.TempPathFactory, cuts: Sequence[int]) -> None:
    expected = tmp_path_factory.mktemp("expected")
    write_log(expected)
    directory = tmp_path_factory.mktemp("audit")
    head = EMPTY_HEAD
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 24], strict=True):
        files = opened(directory, head)
        head = files.append(ENTRIES[begin:end])
        files.close()
    assert contents(directory) == contents(expected)


def test_killed_at_any_step_and_run_again_gives_the_same_files(tmp_path: Path) -> None:
    head = write_log(tmp_path / "expected")
    expected = contents(tmp_path / "expected")
    command = [sys.executable, "-m", "local.audit.append_until_killed", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    runs = [json.loads(line) for line in child.stdout.splitlines()]
    # Each step on the disk killed the first run, one step early in `open` the second; the third came through.
    assert [run["killed"] for run in runs[:-1]] == [[True, True, False]] * (len(runs) - 1)
    assert runs[-1]["killed"][0] is False
    assert len(runs) > len(BATCHES) * 2 + len(list((tmp_path / "expected").glob("*.seal.json"))) * 8
    for run in runs:
        assert contents(Path(run["directory"])) == expected
        assert AuditHead(**run["head"]) == head


@st.composite
def uncommitted_tails(draw: st.DrawFn) -> tuple[int, bytes, list[int]]:
    """How many batches are committed, what lies behind the head, and which later files a power cut has lost."""
    committed = draw(st.integers(0, len(BATCHES) - 1))
    garbage = draw(st.sampled_from([b"", b"\0" * 300, b'{"n":', b"x\n" * 5]) | st.binary(max_size=50))
    return committed, garbage, draw(st.lists(st.integers(0, 9), max_size=4))


@given(uncommitted_tails())
@settings(max_examples=40, deadline=None)
def test_whatever_lies_behind_the_head_is_removed(
    tmp_path_factory: pytest.TempPathFactory, tail: tuple[int, bytes, list[int]]
) -> None:
    committed, garbage, lost = tail
    expected, directory = tmp_path_factory.mktemp("expected"), tmp_path_factory.mktemp("audit")
    write_log(expected)
    files = opened(directory)
    head = EMPTY_HEAD
    for batch in BATCHES[:committed]:
        head = files.append([entry for _, entry in batch])
    kept = set(names(directory))
    files.append([entry for _, entry in BATCHES[committed]])
    files.close()
    later = sorted(path for path in directory.iterdir() if path.name not in kept)
    for index in lost:
        if index < len(later):
            later[index].unlink(missing_ok=True)
    for path in [*later, *([directory / head.segment] if head.segment else [])]:
        if path.exists():
            path.chmod(0o644)
            path.write_bytes(path.read_bytes() + garbage)
    files = opened(directory, head)
    for batch in BATCHES[committed:]:
        head = files.append([entry for _, entry in batch])
    files.close()
    assert contents(directory) == contents(expected)
    assert verify(directory, head).faults == []


def test_a_file_shorter_than_the_head_is_refused(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    path = tmp_path / head.segment
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptData, match=rf"{head.offset} bytes in .*{head.segment}, found {head.offset - 10}"):
        opened(tmp_path, head)


def test_a_head_that_the_file_does_not_hold_is_refused(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    before = contents(tmp_path)
    last_line = (tmp_path / head.segment).read_bytes().splitlines(keepends=True)[-1]
    for wrong in (
        replace(head, hash="f" * 64),
        replace(head, number=head.number - 1),
        replace(head, offset=head.offset - len(last_line)),
        replace(head, offset=head.offset - 1),
    ):
        with pytest.raises(CorruptData, match=rf"byte {wrong.offset} of .*{head.segment}"):
            opened(tmp_path, wrong)
    with pytest.raises(CorruptData, match="last segment"):
        opened(tmp_path, replace(head, segment="audit-00000000000000000001.jsonl"))
    assert contents(tmp_path) == before


def test_a_changed_last_entry_is_refused(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    path = tmp_path / head.segment
    path.write_bytes(path.read_bytes().replace(b'"turn_count":24', b'"turn_count":25'))
    with pytest.raises(CorruptData, match="the file was changed"):
        opened(tmp_path, head)


def test_a_missing_seal_before_the_heads_segment_is_refused(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    seal = max(tmp_path.glob("*.seal.json"))
    seal.unlink()
    with pytest.raises(CorruptData, match=f"no {seal.name}"):
        opened(tmp_path, head)


def test_a_head_much_older_than_the_files_destroys_no_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = opened(tmp_path)
    head = files.append(ENTRIES[:3])
    files.append(ENTRIES[3:])
    files.close()
    before = contents(tmp_path)
    monkeypatch.setattr(audit_files, "APPEND_ENTRIES_MAX", 20)
    for old in (head, EMPTY_HEAD):
        with pytest.raises(CorruptData, match="the store is older than the log"):
            opened(tmp_path, old)
    assert contents(tmp_path) == before


def test_an_append_that_is_no_one_batch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_files, "APPEND_ENTRIES_MAX", 23)
    with pytest.raises(ValueError, match="at most 23 entries"):
        opened(tmp_path).append(ENTRIES)
    with pytest.raises(StorageError, match="call open"):
        AuditFiles(tmp_path).append(ENTRIES)


def test_a_full_disk_keeps_nothing_of_the_append_and_goes_on_when_space_returns(tmp_path: Path) -> None:
    head = write_log(tmp_path / "expected")
    files = opened(tmp_path / "audit")
    committed = files.append(ENTRIES[:8])
    before = contents(tmp_path / "audit")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SEGMENT_BYTES_MAX // 2, old[1]))
    try:
        with pytest.raises(StorageFull, match="no space"):
            files.append(ENTRIES[8:])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert contents(tmp_path / "audit") == before
    assert committed.number == 8
    assert files.append(ENTRIES[8:]) == head
    files.close()
    assert contents(tmp_path / "audit") == contents(tmp_path / "expected")


def test_an_entry_that_json_cannot_hold_keeps_nothing_of_the_append(tmp_path: Path) -> None:
    files = opened(tmp_path)
    files.append(ENTRIES[:8])
    before = contents(tmp_path)
    with pytest.raises(InvalidValue, match="audit entry 'bad'"):
        files.append([*ENTRIES[8:], AuditEntry("bad", AT_MS, {"n": Decimal("NaN")})])
    assert contents(tmp_path) == before
    assert files.append([]).number == 8


def test_retention_drops_whole_sealed_segments_of_older_days(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    assert drop_before(tmp_path, BEFORE_MIDNIGHT) == 0
    assert verify(tmp_path, head).entries == 24
    dropped = drop_before(tmp_path, AFTER_MIDNIGHT)
    assert dropped == 9
    report = verify(tmp_path, head)
    assert (report.faults, report.entries, report.dropped) == ([], 24 - dropped, dropped)
    assert [entry["n"] for entry in read_entries(tmp_path)] == list(range(dropped + 1, 25))
    assert drop_before(tmp_path, AFTER_MIDNIGHT) == 0
    assert drop_before(tmp_path, date(2030, 1, 1)) == head.number - dropped - len(
        (tmp_path / head.segment).read_bytes().splitlines()
    )
    files = opened(tmp_path, head)
    head = files.append([make_entry(number) for number in range(25, 40)])
    files.close()
    assert verify(tmp_path, head).faults == []


@pytest.mark.parametrize("seals_are_left", [True, False])
def test_retention_interrupted_is_finished_by_the_next_call(tmp_path: Path, seals_are_left: bool) -> None:
    head = write_log(tmp_path)
    before = contents(tmp_path)
    drop_before(tmp_path, AFTER_MIDNIGHT)
    expected = contents(tmp_path)
    left = [name for name in before.keys() - expected.keys() if seals_are_left or name.endswith(".jsonl")]
    for name in left:
        (tmp_path / name).write_bytes(before[name][0])
    report = verify(tmp_path, head)
    assert (report.faults, report.entries) == ([], 15)
    assert next(read_entries(tmp_path))["n"] == 10
    assert drop_before(tmp_path, AFTER_MIDNIGHT) == 0
    assert contents(tmp_path) == expected


def test_retention_stops_at_a_segment_without_a_readable_seal(tmp_path: Path) -> None:
    write_log(tmp_path)
    second = sorted(tmp_path.glob("*.seal.json"))[1]
    second.chmod(0o644)
    second.write_bytes(b"{}")
    first_segment = sorted(tmp_path.glob("*.jsonl"))[0].read_bytes().splitlines()
    assert drop_before(tmp_path, AFTER_MIDNIGHT) == len(first_segment)


def test_a_store_that_was_reset_does_not_take_over_a_log_with_dropped_entries(tmp_path: Path) -> None:
    write_log(tmp_path)
    drop_before(tmp_path, AFTER_MIDNIGHT)
    with pytest.raises(CorruptData, match="the store is older than the log"):
        opened(tmp_path)


def test_a_copy_of_the_log_opens_elsewhere(tmp_path: Path) -> None:
    files = opened(tmp_path / "audit")
    head = files.append(ENTRIES[:10])
    shutil.copytree(tmp_path / "audit", tmp_path / "copy")
    expected = files.append(ENTRIES[10:])
    files.close()
    copy = opened(tmp_path / "copy", head)
    assert copy.append(ENTRIES[10:]) == expected
    copy.close()
    assert contents(tmp_path / "copy") == contents(tmp_path / "audit")


@pytest.mark.parametrize("what", ["deleted", "replaced", "cut off", "moved away"])
def test_a_file_that_is_not_what_was_appended_to_takes_no_more_until_it_is_put_back(tmp_path: Path, what: str) -> None:
    files = opened(tmp_path / "log")
    head = files.append([make_entry(1)])
    path = tmp_path / "log" / head.segment
    kept = path.read_bytes()
    if what == "cut off":
        os.truncate(path, head.offset // 2)
    elif what == "moved away":
        (tmp_path / "log").rename(tmp_path / "elsewhere")
    else:
        path.unlink()
        if what == "replaced":
            path.write_bytes(kept[:-1])
    with pytest.raises(CorruptData, match="restore"):
        files.append([make_entry(2)])
    with pytest.raises(StorageError):
        files.append([make_entry(2)])
    assert not files.is_open
    if what == "moved away":
        assert not (tmp_path / "log").exists(), "put back, it would come to lie in a new one"
        (tmp_path / "elsewhere").rename(tmp_path / "log")
    path.write_bytes(kept)
    files.open(head)
    files.append([make_entry(2)])
    files.close()
    assert len(list(read_entries(tmp_path / "log"))) == 2


def test_what_somebody_else_appended_is_cut_off_and_the_entries_follow(tmp_path: Path) -> None:
    files = opened(tmp_path)
    head = files.append([make_entry(1)])
    with (tmp_path / head.segment).open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(CorruptData):
        files.append([make_entry(2)])
    files.append([make_entry(2)])
    files.close()
    assert len(list(read_entries(tmp_path))) == 2
