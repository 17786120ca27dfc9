"""After a power cut every acknowledged write is there, whichever pages the system had brought to the disk.

The disk of a machine that lost its memory is put together from what was surely on it (what was synced) and, page by
page, either what it held before or what had been written since.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from afterwrite.errors import CorruptData, StorageError
from afterwrite.store import checkpoints, journal, write_ahead
from afterwrite.store.environment import Environment, WriteTransaction

PAGE = 4096
KEYS = 400


def put(number: int, text: bytes) -> object:
    def operation(transaction: WriteTransaction) -> None:
        transaction.put("ledger", b"key-%04d" % number, text)
        transaction.put("items", b"item-%04d" % number, text * 30)
        if number % 7 == 3:
            transaction.delete("items", b"item-%04d" % (number - 1))
        transaction.advance("puts")

    return operation


def everything(environment: Environment) -> dict[str, list[tuple[bytes, bytes]]]:
    with environment.read() as transaction:
        return {name: list(transaction.scan(name, b"")) for name in ("ledger", "items", "meta")}


class Machine:
    """A store whose disk can be looked at as it would be found after a power cut."""

    def __init__(self, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = tmp_path / "store"
        self._random = random.Random(seed)
        self._synced = b""
        self.environment = Environment(self.store)
        keep = checkpoints.keep

        def keep_and_look(directory: Path, checkpoint: checkpoints.Checkpoint) -> None:
            # Whatever was written before the sync is on the disk by now; what is there now may be.
            self._synced = (self.store / "data.mdb").read_bytes()
            keep(directory, checkpoint)

        monkeypatch.setattr(checkpoints, "keep", keep_and_look)

    def write(self, numbers: range, text: bytes) -> None:
        for number in numbers:
            self.environment.write(put(number, text))  # type: ignore[arg-type]

    def checkpoint(self) -> None:
        """Have a checkpoint taken, and wait for it."""
        before = checkpoints.kept(self.store)
        self.environment._ahead.urge()
        for _ in range(2000):
            if checkpoints.kept(self.store) != before:
                return
            os.sched_yield()
            subprocess.run(["/bin/sleep", "0.01"], check=True)
        raise AssertionError("no checkpoint was taken")

    def cut_power(self, disk: Path) -> None:
        """Make `disk` what the machine finds when it is back."""
        shutil.copytree(self.store, disk)
        (disk / "lock.mdb").unlink()
        now, synced = (self.store / "data.mdb").read_bytes(), self._synced
        pages = []
        for at in range(0, len(now), PAGE):
            page = synced[at : at + PAGE] if self._random.random() < 0.5 else now[at : at + PAGE]
            pages.append(page or bytes(PAGE))
        (disk / "data.mdb").write_bytes(b"".join(pages))


@pytest.mark.parametrize("seed", range(6))
def test_every_acknowledged_write_is_there(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed > 2:  # with every record written as those of large commits are
        monkeypatch.setattr(journal, "_BACKGROUND_BYTES_MIN", 1)
    machine = Machine(tmp_path, seed, monkeypatch)
    machine.write(range(KEYS), b"first")
    machine.checkpoint()
    machine.write(range(0, KEYS, 3), b"second")
    if seed % 2:
        machine.checkpoint()
        machine.write(range(0, KEYS, 5), b"third")
    expected = everything(machine.environment)
    machine.cut_power(tmp_path / "disk")
    machine.environment.close()
    monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")
    found = Environment(tmp_path / "disk")
    assert everything(found) == expected
    found.write(put(1, b"goes on"))  # type: ignore[arg-type]
    found.close()
    again = Environment(tmp_path / "disk", readonly=True)
    assert dict(everything(again)["ledger"])[b"key-0001"] == b"goes on"
    again.close()


def test_a_second_cut_while_the_first_is_mended_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, 11, monkeypatch)
    machine.write(range(KEYS), b"first")
    machine.checkpoint()
    machine.write(range(0, KEYS, 3), b"second")
    expected = everything(machine.environment)
    disk = tmp_path / "disk"
    machine.cut_power(disk)
    machine.environment.close()
    monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")

    def stop(*_: object, **__: object) -> None:
        raise OSError(5, "the power went once more")

    with monkeypatch.context() as broken:
        broken.setattr(write_ahead.WriteAhead, "_take", stop)
        with pytest.raises(StorageError):
            Environment(disk)
    found = Environment(disk)
    assert everything(found) == expected
    found.close()


KILLED = """
import os, sys
from pathlib import Path
from afterwrite.store import environment, journal
store = environment.Environment(Path(sys.argv[1]))
for number in range(50):
    store.write(lambda transaction: transaction.put("ledger", b"%04d" % number, b"x"))
begin = journal.Journal.begin
def begin_and_die(self, number, pieces):
    begin(self, number, pieces)
    self.finish()
    os._exit(9)
journal.Journal.begin = begin_and_die
store.write(lambda transaction: transaction.put("ledger", b"last", b"x"))
"""


def test_a_process_that_dies_between_its_record_and_its_commit_has_written(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == 9
    found = Environment(tmp_path)
    keys = [key for key, _ in everything(found)["ledger"]]
    found.close()
    assert keys == [*(b"%04d" % number for number in range(50)), b"last"]


KILLED_LATER = """
import os, sys
from pathlib import Path
from afterwrite.store import environment, write_ahead
store = environment.Environment(Path(sys.argv[1]))
for number in range(50):
    store.write(lambda transaction: transaction.put("ledger", b"%04d" % number, b"x"))
def die(self):
    os._exit(9)
def begin_not(self, record, entries):
    # Its record does not get to the disk, as where the process dies before the disk has it.
    self._record = record
    return True
write_ahead.WriteAhead._begin, write_ahead.WriteAhead._finish = begin_not, die
store.write(lambda transaction: transaction.put("ledger", b"last", b"x"))
"""


def test_a_process_that_dies_between_its_commit_and_its_record_goes_on(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_LATER, str(tmp_path)], check=False)
    assert done.returncode == 9
    found = Environment(tmp_path)
    found.write(put(1, b"goes on"))  # type: ignore[arg-type]
    keys = [key for key, _ in everything(found)["ledger"]]
    found.close()
    assert [key for key in keys if key != b"last"] == [*(b"%04d" % number for number in range(50)), b"key-0001"]


def test_reading_waits_for_the_engine_that_mends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, 5, monkeypatch)
    machine.write(range(10), b"first")
    machine.cut_power(tmp_path / "disk")
    machine.environment.close()
    monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")
    with pytest.raises(StorageError, match="start the engine on it once"):
        Environment(tmp_path / "disk", readonly=True)


def test_a_closed_store_needs_neither_journal_nor_checkpoint(tmp_path: Path) -> None:
    environment = Environment(tmp_path)
    environment.write(put(1, b"x"))  # type: ignore[arg-type]
    environment.close()
    assert not (tmp_path / "checkpoint").exists()
    assert list((tmp_path / "journal").iterdir()) == []


@pytest.mark.parametrize("name", ["checkpoint", "data.mdb", "journal"])
def test_a_part_that_is_missing_or_damaged_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    machine = Machine(tmp_path, 5, monkeypatch)
    machine.write(range(10), b"first")
    disk = tmp_path / "disk"
    machine.cut_power(disk)
    machine.environment.close()
    monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")
    if name == "checkpoint":
        content = bytearray((disk / name).read_bytes())
        content[20] ^= 1
        (disk / name).write_bytes(content)
    elif name == "journal":
        shutil.rmtree(disk / name)
    else:
        (disk / name).unlink()
    with pytest.raises(CorruptData, match="backup"):
        Environment(disk)


@pytest.mark.parametrize("is_cut", [False, True])
@pytest.mark.parametrize("checkpoints_taken", [0, 1])
def test_the_journal_of_another_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoints_taken: int, *, is_cut: bool
) -> None:
    for name in ("own", "other"):
        machine = Machine(tmp_path / name, 0, monkeypatch)
        machine.write(range(KEYS), name.encode())
        for _ in range(checkpoints_taken):
            machine.checkpoint()
        machine.write(range(0, KEYS, 3), name.encode() * 2)
        shutil.copytree(machine.store, tmp_path / f"{name}-disk")
        machine.environment.close()
        monkeypatch.undo()
    disk = tmp_path / "own-disk"
    shutil.rmtree(disk / "journal")
    shutil.copytree(tmp_path / "other-disk" / "journal", disk / "journal")
    (disk / "lock.mdb").unlink()
    if is_cut:
        monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")
    with pytest.raises(CorruptData, match="another journal"):
        Environment(disk)
