"""Verification: a sound log has no fault, and each way of tampering with one is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterwrite.errors import StorageError
from afterwrite.local.audit import verification
from afterwrite.local.audit.faults import AuditFault
from afterwrite.local.audit.files import EMPTY_HEAD, AuditFiles, drop_before
from afterwrite.local.audit.segments import AuditEntry, Seal, day_text, encode, encode_line, list_segments
from afterwrite.local.audit.verification import AuditReport, verify
from local.audit.log_cases import AT_MS, ENTRIES, SEGMENT_BYTES_MAX, contents, make_entry, write_log

Tampering = Callable[[list[Path]], None]


def segment_paths(directory: Path) -> list[Path]:
    paths = sorted(directory.glob("*.jsonl"))
    for path in directory.iterdir():
        path.chmod(0o644)
    return paths


def edit_lines(path: Path, edit: Callable[[list[bytes]], None]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    path.write_bytes(b"".join(lines))


def seal_of(path: Path) -> Path:
    return path.with_name(path.name.replace(".jsonl", ".seal.json"))


def edit_seal(path: Path, field: str, value: object) -> None:
    seal = seal_of(path)
    seal.write_bytes(encode(Seal(**{**json.loads(seal.read_bytes()), field: value})))


def kinds(report: AuditReport) -> list[str]:
    return [fault.kind for fault in report.faults]


def test_a_sound_log_has_no_fault(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    segments = len(list(tmp_path.glob("*.jsonl")))
    sound = AuditReport(
        entries=24,
        segments=segments,
        sealed=segments - 1,
        first_at="2026-11-21T23:58:30.000Z",
        last_at="2026-11-22T00:02:20.000Z",
        dropped=0,
        faults=[],
    )
    assert verify(tmp_path, head) == sound
    assert verify(tmp_path) == sound


def test_an_empty_log_has_no_fault(tmp_path: Path) -> None:
    assert verify(tmp_path, EMPTY_HEAD) == AuditReport(0, 0, 0, None, None, 0, [])
    assert verify(tmp_path) == AuditReport(0, 0, 0, None, None, 0, [])


def test_a_log_without_an_entry_needs_no_directory(tmp_path: Path) -> None:
    assert verify(tmp_path / "nowhere", EMPTY_HEAD) == AuditReport(0, 0, 0, None, None, 0, [])


def test_a_log_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such directory"):
        verify(tmp_path / "nowhere")


def test_progress_goes_from_nothing_to_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "READ_BYTES", 1024)
    write_log(tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.jsonl"))
    seen: list[tuple[int, int]] = []
    verify(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert len(seen) >= size // 1024
    assert [total for _, total in seen] == [size] * len(seen)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (size, size)


def change_a_value(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.__setitem__(1, lines[1].replace(b"MODIFY", b"REMOVE")))


def change_a_hash(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.__setitem__(1, lines[1][:-4] + b'-"}\n'))


def change_an_older_entry_of_the_open_segment(paths: list[Path]) -> None:
    edit_lines(paths[-1], lambda lines: lines.__setitem__(0, lines[0].replace(b"MODIFY", b"REMOVE")))


def put_in_a_line(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.insert(1, b"{}\n"))


def remove_an_entry(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.__delitem__(1))


def remove_the_last_entry_of_a_sealed_segment(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.__delitem__(-1))


def empty_a_sealed_segment(paths: list[Path]) -> None:
    paths[1].write_bytes(b"")


def swap_two_entries(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.insert(1, lines.pop(2)))


def repeat_an_entry(paths: list[Path]) -> None:
    edit_lines(paths[1], lambda lines: lines.insert(2, lines[1]))


def replace_an_entry_and_make_its_hash_again(paths: list[Path]) -> None:
    def edit(lines: list[bytes]) -> None:
        old = json.loads(lines[1])
        forged = AuditEntry(old["id"], AT_MS, {"event_name": "REMOVE"})
        lines[1] = encode_line(old["n"], forged, old["prev"])[0]

    edit_lines(paths[1], edit)


def replace_a_whole_segment_and_make_its_hashes_again(paths: list[Path]) -> None:
    def edit(lines: list[bytes]) -> None:
        previous = json.loads(lines[0])["prev"]
        for index, line in enumerate(lines):
            old = json.loads(line)
            lines[index], previous = encode_line(old["n"], AuditEntry("x", AT_MS, {}), previous)

    edit_lines(paths[1], edit)


def remove_a_segment(paths: list[Path]) -> None:
    paths[1].unlink()
    seal_of(paths[1]).unlink()


def remove_a_segment_but_not_its_seal(paths: list[Path]) -> None:
    paths[1].unlink()


def remove_the_first_segment(paths: list[Path]) -> None:
    paths[0].unlink()
    seal_of(paths[0]).unlink()


def remove_a_seal(paths: list[Path]) -> None:
    seal_of(paths[1]).unlink()


def change_a_seal(paths: list[Path]) -> None:
    edit_seal(paths[1], "day", day_text(0))


def change_a_seals_last_number(paths: list[Path]) -> None:
    edit_seal(paths[1], "last", 20)


def change_the_link_of_a_seal(paths: list[Path]) -> None:
    edit_seal(paths[1], "previous_seal", "f" * 64)


def change_a_seal_into_something_else(paths: list[Path]) -> None:
    seal_of(paths[1]).write_bytes(b"[]")


def change_a_seals_types(paths: list[Path]) -> None:
    edit_seal(paths[1], "count", "4")


def swap_two_segments(paths: list[Path]) -> None:
    first, second = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(second)
    paths[2].write_bytes(first)


def break_the_anchor(paths: list[Path]) -> None:
    (paths[0].parent / "audit-anchor.json").write_bytes(b"{}")


def forge_an_anchor(paths: list[Path]) -> None:
    """Remove the beginning and pretend, with a wrong hash, that retention did it."""
    last = json.loads(paths[0].read_bytes().splitlines()[-1])["n"]
    remove_the_first_segment(paths)
    anchor = {"number": last, "hash": "f" * 64, "seal": "f" * 64, "day": "2026-11-21"}
    (paths[0].parent / "audit-anchor.json").write_text(json.dumps(anchor))


SEGMENT_2 = "audit-00000000000000000005.jsonl"
SEGMENT_3 = "audit-00000000000000000009.jsonl"
OPEN_SEGMENT = "audit-00000000000000000022.jsonl"
SEAL_2 = "audit-00000000000000000005.seal.json"


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (change_a_value, [("changed_entry", SEGMENT_2, 2)]),
        (change_a_hash, [("changed_entry", SEGMENT_2, 2)]),
        (change_an_older_entry_of_the_open_segment, [("changed_entry", OPEN_SEGMENT, 1)]),
        (put_in_a_line, [("changed_entry", SEGMENT_2, 2)]),
        (remove_an_entry, [("missing_entry", SEGMENT_2, 2)]),
        (remove_the_last_entry_of_a_sealed_segment, [("truncated_segment", SEGMENT_2, 3)]),
        (empty_a_sealed_segment, [("truncated_segment", SEGMENT_2, 0)]),
        (swap_two_entries, [("missing_entry", SEGMENT_2, 2), ("misplaced_entry", SEGMENT_2, 3)]),
        (repeat_an_entry, [("misplaced_entry", SEGMENT_2, 3)]),
        (replace_an_entry_and_make_its_hash_again, [("broken_link", SEGMENT_2, 3)]),
        (
            replace_a_whole_segment_and_make_its_hashes_again,
            [("changed_seal", SEAL_2, 0), ("broken_link", SEGMENT_3, 1)],
        ),
        (remove_a_segment, [("missing_segment", SEGMENT_2, 0)]),
        (remove_a_segment_but_not_its_seal, [("missing_segment", SEGMENT_2, 0)]),
        (remove_the_first_segment, [("missing_segment", "audit-00000000000000000001.jsonl", 0)]),
        (remove_a_seal, [("missing_seal", SEAL_2, 0)]),
        (change_a_seal, [("changed_seal", SEAL_2, 0)]),
        (change_a_seals_last_number, [("changed_seal", SEAL_2, 0)]),
        (change_the_link_of_a_seal, [("changed_seal", SEAL_2, 0)]),
        (change_a_seal_into_something_else, [("changed_seal", SEAL_2, 0)]),
        (change_a_seals_types, [("changed_seal", SEAL_2, 0)]),
        (break_the_anchor, [("changed_anchor", "audit-anchor.json", 0)]),
        (forge_an_anchor, [("broken_link", SEGMENT_2, 1)]),
    ],
)
@pytest.mark.parametrize("has_head", [True, False])
def test_tampering_is_found_and_named(
    tmp_path: Path, tamper: Tampering, expected: list[tuple[str, str, int]], has_head: bool
) -> None:
    head = write_log(tmp_path)
    tamper(segment_paths(tmp_path))
    report = verify(tmp_path, head if has_head else None)
    assert [(fault.kind, fault.file, fault.line) for fault in report.faults] == expected


def test_swapped_segments_are_found(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    swap_two_segments(segment_paths(tmp_path))
    assert set(kinds(verify(tmp_path, head))) >= {"missing_entry", "misplaced_entry"}


@pytest.mark.parametrize("cut_bytes", [1, 100, 400])
def test_a_truncated_tail_is_found_when_the_head_is_known(tmp_path: Path, cut_bytes: int) -> None:
    head = write_log(tmp_path)
    path = tmp_path / head.segment
    path.write_bytes(path.read_bytes()[:-cut_bytes])
    assert kinds(verify(tmp_path, head)) == ["truncated_tail"]


def test_an_unfinished_last_line_is_found_without_a_head(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    path = tmp_path / head.segment
    lines = path.read_bytes().splitlines()
    path.write_bytes(path.read_bytes()[:-1])
    assert verify(tmp_path).faults[0].line == len(lines)
    assert kinds(verify(tmp_path)) == ["partial_entry"]


def test_a_removed_end_of_the_log_is_found_when_the_head_is_known(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    paths = segment_paths(tmp_path)
    paths[-1].unlink()
    assert kinds(verify(tmp_path, head)) == ["missing_segment"]
    assert kinds(verify(tmp_path)) == []
    paths[-2].unlink()
    assert [(fault.kind, fault.file) for fault in verify(tmp_path).faults] == [("missing_segment", paths[-2].name)]


def test_a_log_made_again_from_its_start_is_found_by_the_head_alone(tmp_path: Path) -> None:
    head = write_log(tmp_path / "audit")
    forged = write_log(tmp_path / "forged", [make_entry(1, at_ms=AT_MS), *ENTRIES[1:]])
    assert kinds(verify(tmp_path / "forged")) == []
    assert kinds(verify(tmp_path / "forged", head)) == ["changed_head"]
    assert (forged.number, forged.segment) == (head.number, head.segment)


def test_a_head_before_the_logs_beginning_is_found(tmp_path: Path) -> None:
    head = write_log(tmp_path)
    drop_before(tmp_path, date(2026, 11, 22))
    assert kinds(verify(tmp_path, replace(head, number=3, segment="audit-00000000000000000001.jsonl"))) == [
        "changed_head"
    ]


def test_what_a_running_engine_appends_after_the_head_is_left_alone(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path, segment_bytes_max=SEGMENT_BYTES_MAX)
    files.open(EMPTY_HEAD)
    for begin in range(0, 24, 2):
        head = files.append(ENTRIES[begin : begin + 2])
        files.append(ENTRIES[begin + 2 : begin + 4])
        report = verify(tmp_path, head)
        assert (report.entries, report.faults) == (begin + 2, [])
        files.open(head)
    files.close()


@pytest.mark.parametrize("seen_before_they_go", [{1, 5, 9}, set()])
def test_retention_beside_the_verification_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen_before_they_go: set[int]
) -> None:
    head = write_log(tmp_path)

    def list_and_drop(directory: Path) -> list[tuple[int, Path]]:
        segments = list_segments(directory)
        drop_before(directory, date(2026, 11, 22))
        return [each for each in segments if each[1].exists() or each[0] in seen_before_they_go]

    monkeypatch.setattr(verification, "list_segments", list_and_drop)
    report = verify(tmp_path, head)
    assert report.faults == []
    assert report.dropped > 0


def test_the_report_of_a_ruined_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "FAULTS_MAX", 5)
    write_log(tmp_path)
    for path in segment_paths(tmp_path):
        path.write_bytes(path.read_bytes().replace(b"MODIFY", b"REMOVE"))
    report = verify(tmp_path)
    assert kinds(report) == ["changed_entry"] * 5 + ["too_many_faults"]
    assert report.faults[-1] == AuditFault(
        "too_many_faults", str(tmp_path), 0, "stopped after 5 faults: restore the log from a backup"
    )


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_of_any_file_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    directory = tmp_path_factory.getbasetemp() / "any-byte"
    if not directory.exists():
        write_log(directory)
        segment_paths(directory)
    names = sorted(contents(directory))
    path = directory / data.draw(st.sampled_from(names))
    sound = path.read_bytes()
    position = data.draw(st.integers(0, len(sound) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != sound[position]))
    path.write_bytes(sound[:position] + bytes([byte]) + sound[position + 1 :])
    try:
        assert verify(directory).faults
    finally:
        path.write_bytes(sound)
