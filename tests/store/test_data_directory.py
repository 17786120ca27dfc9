"""The data directory and its lock: one engine at a time, and the others are told which."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from afterwrite.errors import DataDirectoryInUse, StorageError
from afterwrite.store.data_directory import DataDirectory, DirectoryLock
from bounds import BOUND_S


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "deep" / "data")
    lock = DirectoryLock(directory)
    lock.describe({"pid": 4711, "listening": "127.0.0.1:1", "since": "2026-01-01T00:00:00+00:00"})
    with pytest.raises(DataDirectoryInUse, match=r"process 4711 .*127\.0\.0\.1:1.*2026-01-01.*stop that engine"):
        DirectoryLock(directory)
    assert directory.holder() == {"pid": 4711, "listening": "127.0.0.1:1", "since": "2026-01-01T00:00:00+00:00"}
    lock.release()
    assert directory.holder() is None
    DirectoryLock(directory).release()


def test_a_holder_that_says_nothing_yet_still_holds(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    lock = DirectoryLock(directory)
    assert directory.holder() == {}
    with pytest.raises(
        DataDirectoryInUse, match=r"an engine that is starting, or by a command .*afterwrite parked: try again"
    ):
        DirectoryLock(directory)
    lock.release()


def test_a_directory_that_never_was_has_no_holder(tmp_path: Path) -> None:
    assert DataDirectory(tmp_path / "nowhere").holder() is None
    (tmp_path / "file").touch()
    assert DataDirectory(tmp_path / "file").holder() is None


def test_a_holder_that_died_holds_nothing(tmp_path: Path) -> None:
    die = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from afterwrite.store.data_directory import DataDirectory, DirectoryLock\n"
        "DirectoryLock(DataDirectory(Path(sys.argv[1]))).describe({'pid': os.getpid()})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", die, str(tmp_path)], timeout=BOUND_S, check=False)
    assert done.returncode == -9
    directory = DataDirectory(tmp_path)
    assert directory.lock_file.read_text()
    assert directory.holder() is None
    DirectoryLock(directory).release()


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="choose one that can be written to"):
        DirectoryLock(DataDirectory(tmp_path / "file" / "data"))


def test_who_looks_for_the_holder_keeps_no_engine_from_starting(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    DirectoryLock(directory).release()
    descriptor = os.open(directory.lock_file, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    looking = threading.Timer(0.05, os.close, [descriptor])
    looking.start()
    DirectoryLock(directory).release()
    looking.join()


def test_what_a_dead_holder_has_said_is_not_said_of_the_next(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    directory.lock_file.write_text('{"pid": 1}')
    lock = DirectoryLock(directory)
    assert directory.holder() == {}
    with pytest.raises(
        DataDirectoryInUse, match=r"an engine that is starting, or by a command .*afterwrite parked: try again"
    ):
        directory.refuse_if_held()
    lock.release()
    directory.refuse_if_held()


def test_the_lock_is_not_handed_to_child_processes(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    lock = DirectoryLock(directory)
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        lock.release()
        assert directory.holder() is None
    finally:
        child.communicate(b"\n")


@pytest.fixture
def shared_store(tmp_path: Path) -> tuple[DataDirectory, DataDirectory]:
    """Two data directories, of which the second's store is a link to that of the first."""
    one, two = DataDirectory(tmp_path / "one"), DataDirectory(tmp_path / "two")
    two.path.mkdir()
    two.store.symlink_to(one.store)
    return one, two


def test_a_store_that_two_directories_share_has_one_holder(shared_store: tuple[DataDirectory, DataDirectory]) -> None:
    one, two = shared_store
    lock = DirectoryLock(one)
    with pytest.raises(DataDirectoryInUse, match=r"store .*two/store \(which is .*one/store\) .* engine that is start"):
        DirectoryLock(two)
    lock.describe({"pid": 4711})
    with pytest.raises(DataDirectoryInUse, match=r"two/store .* held by the process 4711 .*: stop that engine"):
        DirectoryLock(two)
    assert two.holder() is None
    lock.release()
    lock = DirectoryLock(two)
    with pytest.raises(DataDirectoryInUse, match=r"one/store is held by another engine, on another data directory"):
        DirectoryLock(one)
    lock.release()
    DirectoryLock(one).release()


def test_a_holder_of_a_shared_store_that_died_holds_nothing(shared_store: tuple[DataDirectory, DataDirectory]) -> None:
    die = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from afterwrite.store.data_directory import DataDirectory, DirectoryLock\n"
        "lock = DirectoryLock(DataDirectory(Path(sys.argv[1])))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    one, two = shared_store
    done = subprocess.run([sys.executable, "-c", die, str(one.path)], timeout=BOUND_S, check=False)
    assert done.returncode == -9
    DirectoryLock(two).release()
