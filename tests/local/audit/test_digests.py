"""Signed digests: each way of tampering with a log is found and named, also by who can make all its hashes again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from afterwrite.core.ports import AnchorStore
from afterwrite.errors import CommandError, CorruptData, StorageError
from afterwrite.local.audit.anchors import FileAnchors
from afterwrite.local.audit.digests import AuditDigests, check, digest_name, identity, list_digests
from afterwrite.local.audit.files import EMPTY_HEAD, AuditEntry, AuditFiles, AuditHead
from afterwrite.local.audit.keys import SIGNING_KEY, signing_key, trusted_keys
from afterwrite.local.audit.segments import list_segments, seal_path
from afterwrite.local.audit.verification import verify
from local.audit.log_cases import AT_MS, ENTRIES, SEGMENT_BYTES_MAX, make_entry

HOUR_MS = 3_600_000
LOG = "trail"


@dataclass
class Signed:
    """A log of 24 entries with a digest after each eight, an anchor file elsewhere, and the store's word of its end."""

    path: Path
    entries: list[AuditEntry] = field(default_factory=lambda: list(ENTRIES))
    head: AuditHead = EMPTY_HEAD

    def __post_init__(self) -> None:
        self.log, self.keys, self.anchor = self.path / "log", self.path / "keys", self.path / "elsewhere" / "anchors"
        self.kept = None
        files = AuditFiles(self.log, segment_bytes_max=SEGMENT_BYTES_MAX)
        files.open(EMPTY_HEAD)
        digests = self.digests()
        for hour in range(3):
            self.head = files.append(self.entries[8 * hour : 8 * hour + 8])
            assert digests.work(self.head, AT_MS + hour * HOUR_MS) is None
            written = digests.work(self.head, AT_MS + (hour + 1) * HOUR_MS)
            assert written is not None
            self.kept = identity(written)
        files.close()
        for path in self.log.iterdir():
            path.chmod(0o644)

    def digests(self, anchor: AnchorStore | None = None) -> AuditDigests:
        return AuditDigests(self.log, LOG, signing_key(self.keys), anchor or FileAnchors(self.anchor))

    def faults(self, *, anchored: bool = False, kept: bool = False) -> list[tuple[str, str]]:
        digest = FileAnchors(self.anchor).latest(LOG) if anchored else None
        state = check(self.log, LOG, trusted_keys(self.keys), digest, self.kept if kept else None)
        return [(fault.kind, fault.file) for fault in verify(self.log, self.head, signed=state).faults]

    def digest(self, number: int) -> Path:
        return self.log / digest_name(number)


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def test_a_sound_log_is_signed_for_to_its_end(signed: Signed) -> None:
    state = check(signed.log, LOG, trusted_keys(signed.keys), FileAnchors(signed.anchor).latest(LOG), signed.kept)
    report = verify(signed.log, signed.head, signed=state)
    assert (report.faults, report.digests, report.signed) == ([], 3, 24)
    assert set(state.seals) == {path.name for _, path in list_segments(signed.log)[:-1]}, "each seal is signed once"
    first, second = (json.loads(signed.digest(number).read_bytes()) for number in (1, 2))
    assert (first["first"], first["last"], second["first"], second["last"]) == (1, 8, 9, 16)
    assert second["previous_signature"] == first["signature"]


def change_a_byte(log: Signed) -> None:
    _, path = list_segments(log.log)[1]
    path.write_bytes(path.read_bytes().replace(b"MODIFY", b"MODIFX", 1))


def remove_an_entry(log: Signed) -> None:
    _, path = list_segments(log.log)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))


def reorder_two_entries(log: Signed) -> None:
    _, path = list_segments(log.log)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1], *lines[3:]]))


def remove_a_segment(log: Signed) -> None:
    _, path = list_segments(log.log)[1]
    path.unlink()
    seal_path(path).unlink()


def change_a_digest(log: Signed) -> None:
    path = log.digest(2)
    path.write_bytes(path.read_bytes().replace(b'"last":16', b'"last":15'))


def swap_two_digests(log: Signed) -> None:
    first, second = log.digest(1).read_bytes(), log.digest(2).read_bytes()
    log.digest(1).write_bytes(second)
    log.digest(2).write_bytes(first)


def remove_a_digest(log: Signed) -> None:
    log.digest(2).unlink()


def sign_with_another_key(log: Signed) -> None:
    """The last digest again, by a key that nobody trusts."""
    log.digest(3).unlink()
    other = AuditDigests(log.log, LOG, signing_key(log.path / "other"), interval_ms=0)
    assert other.work(log.head, AT_MS, closing=True) is not None


def put_in_the_digest_of_another_log(log: Signed) -> None:
    shutil.copytree(log.log, log.path / "copy")
    (log.path / "copy" / log.digest(3).name).unlink()
    other = AuditDigests(log.path / "copy", "other", signing_key(log.keys), interval_ms=0)
    assert other.work(log.head, AT_MS, closing=True) is not None
    log.digest(3).unlink()
    shutil.copy(log.path / "copy" / log.digest(3).name, log.digest(3))


@pytest.mark.parametrize(
    ("tamper", "kinds"),
    [
        (change_a_byte, {"changed_entry"}),
        (remove_an_entry, {"missing_entry"}),
        (reorder_two_entries, {"missing_entry", "misplaced_entry"}),
        (remove_a_segment, {"missing_segment"}),
        (change_a_digest, {"changed_digest"}),
        (swap_two_digests, {"swapped_digest"}),
        (remove_a_digest, {"missing_digest"}),
        (sign_with_another_key, {"changed_digest"}),
        (put_in_the_digest_of_another_log, {"swapped_digest"}),
    ],
)
def test_tampering_is_found_and_named(signed: Signed, tamper: Callable[[Signed], None], kinds: set[str]) -> None:
    tamper(signed)
    assert {kind for kind, _ in signed.faults()} == kinds


def make_again(log: Signed, entries: list[AuditEntry]) -> None:
    """Another log with sound hashes and seals in its place, and the store's head made to fit; digests stay."""
    kept = {path.name: path.read_bytes() for _, path in list_digests(log.log)}
    shutil.rmtree(log.log)
    files = AuditFiles(log.log, segment_bytes_max=SEGMENT_BYTES_MAX)
    files.open(EMPTY_HEAD)
    for begin in range(0, len(entries), 8):
        log.head = files.append(entries[begin : begin + 8])
    files.close()
    for name, content in kept.items():
        (log.log / name).write_bytes(content)
    assert verify(log.log, log.head).faults == [], "without the digests nothing shows"


def test_a_log_made_again_from_its_start_is_not_what_was_signed_s38(signed: Signed) -> None:
    make_again(signed, [make_entry(1, at_ms=AT_MS), *ENTRIES[1:]])
    found = signed.faults()
    assert {kind for kind, _ in found} == {"digest_mismatch"}
    assert len(found) >= 3, "each digest's entry, and the seals"


def test_a_truncated_tail_is_found_though_the_head_was_made_to_fit_s38(signed: Signed) -> None:
    make_again(signed, ENTRIES[:20])
    assert [kind for kind, _ in signed.faults()] == ["truncated_tail"]


def test_digests_cut_off_with_the_tail_are_missed_by_the_store_and_by_the_anchor(signed: Signed) -> None:
    make_again(signed, ENTRIES[:16])
    signed.digest(3).unlink()
    assert signed.faults() == [], "whoever can change the store's word of them as well hides it"
    assert ("missing_digest", signed.digest(3).name) in signed.faults(kept=True)
    assert {kind for kind, _ in signed.faults(anchored=True)} == {"missing_digest", "truncated_tail"}


@pytest.mark.parametrize("signed_since", [1, 2, 3])
def test_a_log_that_goes_on_from_before_what_is_anchored_is_not_anchored_there_and_stays_found(
    signed: Signed, caplog: pytest.LogCaptureFixture, signed_since: int
) -> None:
    anchored = signed.anchor.read_bytes()
    make_again(signed, ENTRIES[:8])
    for number in (2, 3):
        signed.digest(number).unlink()
    for hour in range(signed_since):
        files = AuditFiles(signed.log, segment_bytes_max=SEGMENT_BYTES_MAX)
        files.open(signed.head)
        signed.head = files.append([make_entry(9 + hour)])
        files.close()
        caplog.clear()
        assert signed.digests().work(signed.head, AT_MS + (9 + hour) * HOUR_MS, closing=True) is not None
        (told,) = (record for record in caplog.records if record.levelname == "ERROR")
        assert "give --audit-anchor another place" in told.message
    assert signed.anchor.read_bytes() == anchored
    assert signed.faults(anchored=True)
    assert signed.faults() == []


@pytest.mark.parametrize("left", [0, 2])
def test_digests_that_were_removed_stay_missed_when_the_engine_has_signed_again(signed: Signed, left: int) -> None:
    for number in range(left + 1, 4):
        signed.digest(number).unlink()
    files = AuditFiles(signed.log, segment_bytes_max=SEGMENT_BYTES_MAX)
    files.open(signed.head)
    signed.head = files.append([make_entry(25)])
    files.close()
    digests = AuditDigests(signed.log, LOG, signing_key(signed.keys), kept=signed.kept)
    written = digests.work(signed.head, AT_MS + 4 * HOUR_MS, closing=True)
    assert written is not None
    signed.kept = identity(written)
    assert signed.faults(kept=True) == [("missing_digest", digest_name(left + 1))]


def test_a_directory_in_the_place_of_a_digest_is_no_digest(signed: Signed) -> None:
    signed.digest(3).unlink()
    signed.digest(3).mkdir()
    assert signed.faults(kept=True) == [("missing_digest", signed.digest(3).name)]


def test_a_digest_is_written_each_hour_also_when_the_clock_was_ahead(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path / "log")
    files.open(EMPTY_HEAD)
    head = files.append(list(ENTRIES[:2]))
    ahead_ms = AT_MS + 24 * 365 * HOUR_MS
    key = signing_key(tmp_path / "keys")
    assert AuditDigests(tmp_path / "log", LOG, key).work(head, ahead_ms, closing=True) is not None
    head = files.append(list(ENTRIES[2:4]))
    files.close()
    digests = AuditDigests(tmp_path / "log", LOG, key)
    assert digests.due_ms(head, AT_MS) == AT_MS + HOUR_MS
    assert digests.work(head, AT_MS + HOUR_MS - 1) is None
    assert digests.work(head, AT_MS + HOUR_MS) is not None
    assert digests.due_ms(head, AT_MS + HOUR_MS) is None


def test_a_digest_that_a_full_disk_cut_off_in_the_anchor_file_is_put_there_again(signed: Signed) -> None:
    content = signed.anchor.read_bytes()
    lines = content.splitlines(keepends=True)
    signed.anchor.write_bytes(content[: -len(lines[2]) // 2])
    anchors = FileAnchors(signed.anchor)
    assert anchors.latest(LOG) == lines[1]
    anchors.put(LOG, 3, lines[2])
    assert anchors.latest(LOG) == lines[2]
    anchors.put(LOG, 3, lines[2])
    assert signed.faults(anchored=True) == []
    signed.anchor.write_bytes(lines[0] + lines[1][:200] + b"\n" + lines[2])
    with pytest.raises(CorruptData, match="expected a digest on line 2"):
        anchors.latest(LOG)


def test_a_log_made_and_signed_again_with_the_stolen_key_is_not_the_anchored_one(signed: Signed) -> None:
    forged = Signed(signed.path / "forged", [make_entry(1, at_ms=AT_MS), *ENTRIES[1:]])
    shutil.rmtree(forged.log)
    shutil.copytree(signed.keys, forged.keys, dirs_exist_ok=True)
    again = Signed(forged.path, forged.entries)
    assert again.faults() == []
    again.anchor = signed.anchor
    assert {kind for kind, _ in again.faults(anchored=True)} == {"swapped_digest"}


def test_a_digest_an_hour_and_one_at_the_end(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path / "log")
    files.open(EMPTY_HEAD)
    digests = AuditDigests(tmp_path / "log", LOG, signing_key(tmp_path / "keys"))
    assert digests.due_ms(EMPTY_HEAD, AT_MS) is None
    head = files.append(ENTRIES[:2])
    assert digests.due_ms(head, AT_MS) == AT_MS + HOUR_MS
    assert digests.work(head, AT_MS + HOUR_MS - 1) is None
    assert digests.work(head, AT_MS + HOUR_MS) is not None
    assert digests.due_ms(head, AT_MS + 9 * HOUR_MS) is None, "nothing came since"
    head = files.append(ENTRIES[2:4])
    assert digests.due_ms(head, AT_MS + HOUR_MS) == AT_MS + 2 * HOUR_MS
    last = digests.work(head, AT_MS + HOUR_MS + 1, closing=True)
    assert last is not None
    assert (last.digest.number, last.digest.first, last.digest.last) == (2, 3, 4)
    again = AuditDigests(tmp_path / "log", LOG, signing_key(tmp_path / "keys"))
    assert again.due_ms(head, AT_MS + 9 * HOUR_MS) is None
    files.close()


class Unreachable:
    """An anchor store that does not answer until it does."""

    def __init__(self, store: AnchorStore) -> None:
        self.store = store
        self.answers = False

    def put(self, log: str, number: int, digest: bytes) -> None:
        self._ask()
        self.store.put(log, number, digest)

    def latest(self, log: str) -> bytes | None:
        self._ask()
        return self.store.latest(log)

    def _ask(self) -> None:
        if not self.answers:
            raise StorageError("no answer")


def test_what_could_not_be_anchored_is_anchored_later(tmp_path: Path) -> None:
    files = AuditFiles(tmp_path / "log")
    files.open(EMPTY_HEAD)
    store = FileAnchors(tmp_path / "anchors")
    anchor = Unreachable(store)
    digests = AuditDigests(tmp_path / "log", LOG, signing_key(tmp_path / "keys"), anchor, interval_ms=0)
    head = files.append(ENTRIES[:2])
    assert digests.work(head, AT_MS) is not None
    head = files.append(ENTRIES[2:4])
    assert digests.work(head, AT_MS + 1) is not None
    assert digests.due_ms(head, AT_MS + 1) == AT_MS + 60_001, "a minute after the last attempt"
    anchor.answers = True
    digests.work(head, AT_MS + 60_001)
    assert (tmp_path / "anchors").read_bytes() == b"".join(
        path.read_bytes() for _, path in list_digests(tmp_path / "log")
    )
    again = AuditDigests(tmp_path / "log", LOG, signing_key(tmp_path / "keys"), store)
    again.work(head, AT_MS + 60_002)
    assert len((tmp_path / "anchors").read_bytes().splitlines()) == 2, "each once"
    files.close()


def test_a_key_that_has_signed_and_is_gone_is_told_of(signed: Signed, caplog: pytest.LogCaptureFixture) -> None:
    signing_key(signed.path / "given")
    for keys in (signed.keys, signed.path / "given"):  # a key may change, as long as its public half is there
        AuditDigests(signed.log, LOG, signing_key(keys), trusted=trusted_keys(signed.keys))
    assert not caplog.records
    shutil.rmtree(signed.keys)
    AuditDigests(signed.log, LOG, signing_key(signed.keys), trusted=trusted_keys(signed.keys))
    (told,) = caplog.records
    assert told.levelname == "ERROR"
    assert "put its public key back into keys/, or give it to afterwrite audit verify --key" in told.message


def test_the_key_is_its_owners_only_and_may_be_given(tmp_path: Path) -> None:
    made = signing_key(tmp_path / "keys")
    assert (tmp_path / "keys" / SIGNING_KEY).stat().st_mode & 0o777 == 0o600
    assert signing_key(tmp_path / "keys").fingerprint == made.fingerprint
    given = signing_key(tmp_path / "other", tmp_path / "keys" / SIGNING_KEY)
    assert given.fingerprint == made.fingerprint
    assert not (tmp_path / "other" / SIGNING_KEY).exists()
    assert trusted_keys(tmp_path / "other").has(made.fingerprint)
    (tmp_path / "text").write_text("no key")
    with pytest.raises(CommandError, match="expected an Ed25519 key in PEM"):
        signing_key(tmp_path / "keys", tmp_path / "text")
