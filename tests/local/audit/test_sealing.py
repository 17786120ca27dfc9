"""Entries of forgettable audit logs are encrypted by lane, read with their keys, and never again without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from afterwrite.app import AuditLog
from afterwrite.core.lanes import with_lane
from afterwrite.errors import CorruptData, StorageError
from afterwrite.local.audit.files import read_entries
from afterwrite.local.audit.logs import AuditSink
from afterwrite.local.audit.sealing import (
    WRAPPING_KEY,
    EntryOpener,
    EntrySealer,
    destroy_key,
    key_to_wrap_with,
    wrapping_key,
)
from afterwrite.local.file_buffers import audit_buffer
from afterwrite.store import buffers, ledger
from afterwrite.store.buffers import NewRecord
from afterwrite.store.environment import Environment
from embedded import START_MS, Clock, open_store

LOG = "trail"


class Log:
    """A forgettable log on a store of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment: Environment = open_store(path / "store", Clock())
        self.number = 0

    def put(self, lane: str | None, entry: dict[str, Any]) -> None:
        """Have an entry wait, with its lane where the log is declared forgettable."""
        text = orjson.dumps(entry)
        record = NewRecord(f"change-{self.number}/r/0", START_MS, text if lane is None else with_lane(lane, text))
        self.number += 1
        self.environment.write(lambda transaction: buffers.add(transaction, audit_buffer(LOG), [record]))

    def sink(self, *, forgettable: bool = True) -> AuditSink:
        sealer = EntrySealer(LOG, wrapping_key(self.path / "keys", make=True)) if forgettable else None
        return AuditSink(self.environment, AuditLog(LOG, None, forgettable), self.path / "audit", None, sealer)

    def lines(self) -> list[dict[str, Any]]:
        return list(read_entries(self.path / "audit"))

    def opened(self) -> list[Any]:
        with self.environment.read() as transaction:
            opener = EntryOpener(transaction, LOG, self.path / "keys")
        return [opener.open(line)["entry"] for line in self.lines()]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


def test_each_lane_has_a_key_and_one_destroyed_leaves_the_others(log: Log) -> None:
    sink = log.sink()
    for number in range(2):
        for lane in ("t/ada", "t/bob"):
            log.put(lane, {"who": lane, "number": number})
    sink.flush()
    ids = [line["entry"]["key"] for line in log.lines()]
    assert (ids[0], ids[1]) == (ids[2], ids[3])
    assert ids[0] != ids[1]
    assert len({line["entry"]["sealed"] for line in log.lines()}) == 4
    log.environment.write(lambda transaction: destroy_key(transaction, LOG, "t/ada"))
    forgotten = {"forgotten": True}
    assert log.opened() == [forgotten, {"who": "t/bob", "number": 0}, forgotten, {"who": "t/bob", "number": 1}]
    sink.close()
    again = log.sink()
    log.put("t/ada", {"who": "t/ada", "number": 2})
    log.put("t/bob", {"who": "t/bob", "number": 2})
    again.flush()
    later = [line["entry"]["key"] for line in log.lines()][4:]
    assert later[0] != ids[0], "a forgotten lane that is written again has a new key"
    assert later[1] == ids[1]
    again.close()
    log.environment.close()


def test_a_key_has_the_name_by_which_every_version_finds_it(log: Log) -> None:
    """Under another one it would outlive the forgetting of its lane."""
    sink = log.sink()
    log.put("t/ada", {"who": "ada"})
    sink.flush()
    with log.environment.read() as transaction:
        ((name, kept),) = ledger.notes(transaction, "audit-key/")
    assert (name, kept["lane"]) == (f"{LOG}/4e6b725a68dea3e19713d092467e48e1", "t/ada")
    sink.close()
    log.environment.close()


def test_keys_of_a_commit_that_failed_are_not_used_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = log.sink()
    log.put("t/ada", {"number": 1})

    def fail(operation: Callable[..., Any]) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as failing:
        failing.setattr(log.environment, "write", fail)
        with pytest.raises(StorageError, match="no space"):
            sink.flush()
    assert sink.flush() == 1
    assert log.opened() == [{"number": 1}]
    sink.close()
    log.environment.close()


@pytest.mark.parametrize("forgettable", [True, False])
def test_what_waits_when_the_declaration_changes_is_appended(log: Log, forgettable: bool) -> None:
    log.put("t/ada", {"number": 1})
    log.put(None, {"number": 2})
    sink = log.sink(forgettable=forgettable)
    assert sink.flush() == 2
    assert log.opened() == [{"number": 1}, {"number": 2}]
    assert ("sealed" in log.lines()[0]["entry"]) is forgettable
    sink.close()
    log.environment.close()


def test_sealed_content_belongs_to_its_line_and_to_its_wrapping_key(log: Log) -> None:
    sink = log.sink()
    for number in range(2):
        log.put("t/ada", {"number": number})
    sink.flush()
    first, second = log.lines()
    with log.environment.read() as transaction:
        opener = EntryOpener(transaction, LOG, log.path / "keys")
        with pytest.raises(CorruptData, match="expected the entry 2 as it was encrypted"):
            opener.open({**second, "entry": first["entry"]})
        key = log.path / "keys" / WRAPPING_KEY
        assert key.stat().st_mode & 0o777 == 0o600
        content = key.read_text()
        key.write_text("00" * 32)
        with pytest.raises(CorruptData, match="expected a data key that is wrapped with the key"):
            EntryOpener(transaction, LOG, log.path / "keys")
        key.write_text("short")
        with pytest.raises(CorruptData, match="expected 32 bytes as hex digits"):
            EntryOpener(transaction, LOG, log.path / "keys")
        key.unlink()
        with pytest.raises(StorageError, match="expected the key of the forgettable audit logs"):
            EntryOpener(transaction, LOG, log.path / "keys")
        key.write_text(content)
    sink.close()
    log.environment.close()


@pytest.mark.parametrize("other", [None, b"00" * 32])
def test_no_other_key_takes_the_place_of_one_that_keys_are_wrapped_with(log: Log, other: bytes | None) -> None:
    with log.environment.read() as transaction:
        first = key_to_wrap_with(transaction, log.path / "keys")
    sink = log.sink()
    log.put("a", {"n": 1})
    sink.flush()
    path = log.path / "keys" / WRAPPING_KEY
    kept = path.read_bytes()
    path.unlink()
    if other is not None:
        path.write_bytes(other)
    with log.environment.read() as transaction, pytest.raises(StorageError, match=WRAPPING_KEY):
        key_to_wrap_with(transaction, log.path / "keys")
    assert path.exists() == (other is not None)
    path.write_bytes(kept)
    with log.environment.read() as transaction:
        assert key_to_wrap_with(transaction, log.path / "keys") == first
