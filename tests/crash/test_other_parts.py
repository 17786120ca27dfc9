"""A store is opened with the file, the checkpoint and the journal that belong together, or not at all.

Whoever restores a part of a backup by hand, or mixes two directories, is told so; and whatever a killed process or a
power cut leaves is opened.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest

from afterwrite import backups
from afterwrite.errors import CorruptData
from afterwrite.store import checkpoints, openings
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment
from afterwrite.store.transactions import WriteTransaction
from afterwrite.store.verification import verify
from bounds import BOUND_S

KEYS = 20  # so few that no file of the journal is half used, after which a checkpoint would be due
FILE, CHECKPOINT, JOURNAL, NOTE = "data.mdb", "checkpoint", "journal", "closed"


def put(environment: Environment, numbers: range, text: str) -> None:
    for number in numbers:

        def operation(transaction: WriteTransaction, number: int = number) -> None:
            transaction.put("ledger", b"key-%04d" % number, text.encode())
            transaction.put("items", b"item-%04d" % number, text.encode() * 30)

        environment.write(operation)


def texts(store: Path) -> list[str]:
    environment = Environment(store)
    try:
        with environment.read() as transaction:
            return [text.decode() for _, text in transaction.scan("ledger", b"")]
    finally:
        environment.close()


def opened(store: Path) -> Environment:
    """A store that takes a checkpoint when it is told to, and not while it is being copied."""
    environment = Environment(store)
    environment._ahead._checkpoint_s = 3600.0
    return environment


def as_killed(store: Path, to: Path) -> None:
    """What a process leaves that is killed now."""
    shutil.copytree(store, to)
    (to / "lock.mdb").unlink()


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores, `own` and `other`, at each moment of their lives; `own-backup` is the first's file while it ran."""
    folder = tmp_path_factory.mktemp("states")
    for name in ("own", "other"):
        store = folder / name
        environment = opened(store)
        put(environment, range(KEYS), f"{name} 1")
        (folder / f"{name}-backup").mkdir()
        environment.copy(folder / f"{name}-backup")
        as_killed(store, folder / f"{name}-killed-early")
        environment._ahead._take(rotate=True)
        put(environment, range(0, KEYS, 3), f"{name} 2")
        as_killed(store, folder / f"{name}-killed")
        environment.close()
        shutil.copytree(store, folder / f"{name}-closed-early")
        environment = opened(store)
        put(environment, range(0, KEYS, 5), f"{name} 3")
        as_killed(store, folder / f"{name}-killed-later")
        environment.close()
        shutil.copytree(store, folder / f"{name}-closed")
    return folder


def mixed(states: Path, tmp_path: Path, parts: Mapping[str, str]) -> Path:
    """A store of parts, each from the state that is named."""
    store = tmp_path / "mixed"
    store.mkdir()
    for part, state in parts.items():
        found = states / state / part
        if found.is_dir():
            shutil.copytree(found, store / part)
        else:
            shutil.copy(found, store / part)
    return store


@pytest.fixture
def another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")


KILLED = {FILE: "own-killed", CHECKPOINT: "own-killed", JOURNAL: "own-killed"}
CLOSED = {FILE: "own-closed", NOTE: "own-closed", JOURNAL: "own-closed"}
CRASHED_MIXTURES = {
    "another store's file": {**KILLED, FILE: "other-killed"},
    "another closed store's file": {**KILLED, FILE: "other-closed"},
    "a backup's file": {**KILLED, FILE: "own-backup", CHECKPOINT: "own-killed-later", JOURNAL: "own-killed-later"},
    "a file of the opening before": {
        **KILLED,
        FILE: "own-killed-early",
        CHECKPOINT: "own-killed-later",
        JOURNAL: "own-killed-later",
    },
    "a file of a later opening": {**KILLED, FILE: "own-killed-later"},
    "another store's checkpoint": {**KILLED, CHECKPOINT: "other-killed"},
    "a checkpoint of a later opening": {**KILLED, CHECKPOINT: "own-killed-later"},
    "no checkpoint": {FILE: "own-killed", JOURNAL: "own-killed"},
    "no journal": {FILE: "own-killed", CHECKPOINT: "own-killed"},
    "the file alone": {FILE: "own-killed"},
}
CLOSED_MIXTURES = {
    "another store's file": {**CLOSED, FILE: "other-closed"},
    "an older file": {**CLOSED, FILE: "own-closed-early"},
    "a backup's file": {**CLOSED, FILE: "own-backup"},
    "another store's killed file": {**CLOSED, FILE: "other-killed-later"},
    "a killed file in a closed store": {**CLOSED, FILE: "own-killed-later", NOTE: "own-closed-early"},
    "nothing that tells": {FILE: "own-closed", JOURNAL: "own-closed"},
    "a backup's file alone": {FILE: "own-backup"},
}


def refused(store: Path) -> None:
    """The store is refused, with what is to be done, and its file is left as it was."""
    before = (store / FILE).read_bytes()
    for _ in range(2):
        with pytest.raises(CorruptData, match=r"expected .* (found|its last is) .*(put .* back|restore)"):
            Environment(store)
    assert (store / FILE).read_bytes()[: 2 * 4096] == before[: 2 * 4096]


@pytest.mark.parametrize("name", CRASHED_MIXTURES)
def test_a_mixture_that_a_killed_process_cannot_leave_is_refused(states: Path, tmp_path: Path, name: str) -> None:
    refused(mixed(states, tmp_path, CRASHED_MIXTURES[name]))


@pytest.mark.usefixtures("another_boot")
@pytest.mark.parametrize("name", [name for name in CRASHED_MIXTURES if "journal" not in name and "later" not in name])
def test_a_mixture_that_a_power_cut_cannot_leave_is_refused(states: Path, tmp_path: Path, name: str) -> None:
    refused(mixed(states, tmp_path, CRASHED_MIXTURES[name]))


@pytest.mark.parametrize("name", CLOSED_MIXTURES)
def test_a_mixture_that_a_closed_store_cannot_be_is_refused(states: Path, tmp_path: Path, name: str) -> None:
    refused(mixed(states, tmp_path, CLOSED_MIXTURES[name]))


def test_an_older_journal_beside_a_newer_file_is_refused(states: Path, tmp_path: Path) -> None:
    store = mixed(states, tmp_path, {**KILLED, JOURNAL: "own-killed-early"})
    with pytest.raises(CorruptData, match=r"expected records up to .* older one than the store's file; put the files"):
        Environment(store)


def test_whoever_looks_is_told_too_and_can_take_what_is_left(states: Path, tmp_path: Path) -> None:
    assert "the file that" in verify(mixed(states, tmp_path, CLOSED_MIXTURES["an older file"])).damage[0]
    data = DataDirectory(tmp_path / "data")
    data.path.mkdir()
    mixed(states, tmp_path / "data", {FILE: "own-closed"}).rename(data.store)
    backups.back_up(data.path, tmp_path / "backup")
    backups.restore(tmp_path / "backup", tmp_path / "restored")
    assert texts(DataDirectory(tmp_path / "restored").store).count("own 3") == KEYS // 5


@pytest.mark.parametrize("cut", [False, True], ids=["killed", "power cut"])
@pytest.mark.parametrize("state", ["own-killed-early", "own-killed", "own-killed-later", "own-closed"])
def test_what_a_process_leaves_is_opened(
    states: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, *, cut: bool
) -> None:
    store = tmp_path / "store"
    shutil.copytree(states / state, store)
    if cut:
        monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")
    assert len(texts(store)) == KEYS
    assert len(texts(store)) == KEYS


def test_a_closed_store_needs_no_journal(states: Path, tmp_path: Path) -> None:
    assert len(texts(mixed(states, tmp_path, {FILE: "own-closed", NOTE: "own-closed"}))) == KEYS


def as_of_an_older_version(store: Path) -> None:
    """Make of a store one in which no version has written that knows of openings."""
    with lmdb.open(os.fsencode(store), max_dbs=40, map_size=1 << 40, sync=False) as file:
        database = file.open_db(b"meta", create=False)
        with file.begin(write=True) as transaction:
            transaction.delete(b"opening", db=database)
    (store / NOTE).unlink(missing_ok=True)


def test_a_store_of_an_older_version_is_opened_and_known_from_then_on(states: Path, tmp_path: Path) -> None:
    store, older = tmp_path / "store", tmp_path / "older"
    shutil.copytree(states / "own-closed", store)
    as_of_an_older_version(store)
    shutil.copytree(store, older)
    environment = Environment(store)
    put(environment, range(KEYS), "own 4")
    environment.close()
    assert set(texts(store)) == {"own 4"}
    shutil.copy(older / FILE, store / FILE)
    refused(store)


@pytest.mark.parametrize("has_checksum", [False, True])
def test_a_checkpoint_of_an_older_version_is_gone_on_from(states: Path, tmp_path: Path, *, has_checksum: bool) -> None:
    store = tmp_path / "store"
    shutil.copytree(states / "own-killed", store)
    checkpoint = checkpoints.kept(store)
    assert checkpoint is not None
    checksum = checkpoint.checksum if has_checksum else None
    checkpoints.keep(store, replace(checkpoint, opening=None, root=None, checksum=checksum))
    assert len(texts(store)) == KEYS
    assert len(texts(store)) == KEYS


# Dies at the call of the number that is given, of those that bring a store from one state to another, at the start, in
# writing and at the end; a number beyond them is never reached.
DYING = """
import os, sys
from pathlib import Path
from afterwrite.store import checkpoints, openings
from afterwrite.store.environment import Environment
from afterwrite.store.journal import Journal
left = [int(sys.argv[2])]
def dies(owner, name, after):
    call = getattr(owner, name)
    def called(*arguments, **options):
        left[0] -= 1
        if left[0] == 0 and not after:
            os._exit(9)
        answer = call(*arguments, **options)
        if left[0] == 0:
            os._exit(9)
        return answer
    setattr(owner, name, called)
after = sys.argv[3] == "after"
for owner, name in (
    (checkpoints, "keep"), (checkpoints, "remove"), (openings, "keep_note"), (openings, "remove_note"),
    (openings, "begin"), (Journal, "begin"), (Journal, "begin_segment"), (Journal, "remove"), (Journal, "finish"),
):
    dies(owner, name, after)
store = Environment(Path(sys.argv[1]), sync_interval_s=0.05 if sys.argv[4] == "relaxed" else None)
for number in range(3):
    store.write(lambda transaction: transaction.put("ledger", b"%d" % number, sys.argv[2].encode()))
print("written", flush=True)
store.close()
"""


def die(store: Path, call: int, when: str, durability: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", DYING, str(store), str(call), when, durability],
        capture_output=True,
        text=True,
        check=False,
        timeout=BOUND_S,
    )


@pytest.mark.parametrize("durability", ["fsync", "relaxed"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_may_die_at_any_step_of_its_life(tmp_path: Path, when: str, durability: str) -> None:
    store = tmp_path / "store"
    for call in range(1, 40):
        died = die(store, call, when, durability)
        assert died.returncode in (0, 9), died.stderr
        # It may also die at the same step of what the next one does about it.
        again = die(store, call, when, durability)
        assert again.returncode in (0, 9), again.stderr
        if died.returncode == again.returncode == 0:
            break
        if "written" in died.stdout + again.stdout:
            written = {text for text in texts(store) if text == str(call)}
            assert written, f"what was answered before call {call} is gone"
    else:
        raise AssertionError("the process never came to its end")


def test_an_opening_counts_once_it_has_written(tmp_path: Path, states: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(states / "own-closed", store)

    def known() -> openings.Opening:
        with environment.read() as transaction:
            return openings.of_file(transaction)

    environment = Environment(store)
    before = known()
    with pytest.raises(ZeroDivisionError):
        environment.write(lambda _: 1 // 0)
    environment.close()
    environment = Environment(store)
    assert known() == before
    put(environment, range(KEYS), "own 4")
    assert known().before == before.last
    environment.close()
    assert set(texts(store)) == {"own 4"}


def test_a_disk_that_is_full_at_the_end_leaves_what_a_killed_process_does(
    tmp_path: Path, states: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(states / "own-closed", store)
    environment = Environment(store)
    put(environment, range(KEYS), "own 4")

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(openings, "keep_note", fill)
        environment.close()
    monkeypatch.setattr(checkpoints, "boot_id", lambda: b"another boot")
    assert set(texts(store)) == {"own 4"}
