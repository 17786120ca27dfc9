"""What was written and is damaged since is an error that says so, and never data."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from afterwrite.config import Settings
from afterwrite.errors import CorruptData, StorageError
from afterwrite.store.environment import Environment
from afterwrite.store.verification import verify
from afterwrite.wiring import Engine
from bounds import BOUND_S
from embedded import Clock, Dynamo, open_store

ITEMS = 300
MARK = "marked"


def filled(path: Path, clock: Clock) -> Path:
    """A store of items, one of which holds a text that stands nowhere else."""
    environment = open_store(path, clock)
    dynamo = Dynamo(environment)
    dynamo.create(view_type=None)
    for number in range(ITEMS):
        dynamo.put(pk="p", sk=f"key-{number:04d}", text=f"{MARK}-{number:04d}-" + "x" * 200)
    environment.close()
    return path


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Path:
    return filled(tmp_path / "store", clock)


def flip(store: Path, text: bytes, offset: int = 0) -> None:
    """Change a byte in every place of the file where `text` stands: pages that are not in use any more hold it too."""
    file = store / "data.mdb"
    content = bytearray(file.read_bytes())
    at = content.find(text)
    assert at >= 0
    while at >= 0:
        content[at + offset] ^= 0x01
        at = content.find(text, at + 1)
    file.write_bytes(content)


@contextlib.contextmanager
def opened(store: Path, clock: Clock) -> Iterator[Dynamo]:
    environment = open_store(store, clock)
    try:
        yield Dynamo(environment)
    finally:
        environment.close()


def get(dynamo: Dynamo, number: int) -> object:
    key = {"pk": {"S": "p"}, "sk": {"S": f"key-{number:04d}"}}
    return dynamo("GetItem", TableName="things", Key=key).get("Item")


def test_a_whole_store_is_found_whole(store: Path) -> None:
    found = verify(store)
    assert found.damage == []
    assert found.entries >= ITEMS


def test_a_flipped_byte_in_an_item_is_an_error_and_the_others_are_served(store: Path, clock: Clock) -> None:
    flip(store, f"{MARK}-0123-".encode())
    with opened(store, clock) as dynamo:
        with pytest.raises(CorruptData, match="afterwrite check"):
            get(dynamo, 123)
        assert get(dynamo, 124) is not None
        with pytest.raises(CorruptData):
            dynamo("Scan", TableName="things")
    damage = verify(store).damage
    assert len(damage) == 1
    assert damage[0].startswith("items: ")


@pytest.mark.parametrize("number", [0, 123, ITEMS - 1])
@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_a_flipped_byte_in_a_key_is_no_absence(store: Path, clock: Clock, number: int, bit: int) -> None:
    """The entry is not found under its key; it is still known that something stood there."""
    file = store / "data.mdb"
    content = file.read_bytes()
    stored_key = f"key-{number:04d}".encode()
    # In a leaf the item's size and JSON text follow the key.
    changed = content.replace(stored_key + b"\x00\x00", bytes((stored_key[0] ^ bit,)) + stored_key[1:] + b"\x00\x00")
    assert changed != content
    file.write_bytes(changed)
    with opened(store, clock) as dynamo:
        with pytest.raises(CorruptData):
            get(dynamo, number)
        with pytest.raises(CorruptData):
            dynamo(
                "Query",
                TableName="things",
                KeyConditionExpression="pk = :p",
                ExpressionAttributeValues={":p": {"S": "p"}},
            )
    assert verify(store).damage


def test_a_damaged_item_is_not_overwritten_by_a_write_that_reads_it(store: Path, clock: Clock) -> None:
    flip(store, f"{MARK}-0123-".encode())
    with opened(store, clock) as dynamo:
        with pytest.raises(CorruptData):
            dynamo.put(pk="p", sk="key-0123", text="new")
        dynamo.put(pk="p", sk="key-0124", text="new")


@pytest.mark.parametrize("name", [b"items", b"changes", b"ledger"])
def test_a_database_that_is_lost_is_not_made_anew(store: Path, clock: Clock, name: bytes) -> None:
    flip(store, name)
    with pytest.raises(CorruptData, match="a part of it is missing"):
        open_store(store, clock)
    assert "a part of it is missing" in verify(store).damage[0]


def branch_keys(content: bytes | bytearray) -> Iterator[int]:
    """Where the keys of branch pages stand that say in which of two pages an item is: the last byte of each."""
    for page in range(0, len(content), 4096):
        flags, lower = struct.unpack_from("<HH", content, page + 10)
        if flags & 0x51 != 0x01:  # a branch page, with no flag that it cannot have
            continue
        for pointer in range(page + 18, page + lower, 2):  # the first has no key
            node = page + struct.unpack_from("<H", content, pointer)[0]
            key_bytes = struct.unpack_from("<H", content, node + 6)[0]
            if b"key-" in content[node + 8 : node + 8 + key_bytes]:
                yield node + 8 + content[node + 8 : node + 8 + key_bytes].index(b"key-") + 6


@pytest.mark.parametrize("bit", [0, 1, 2, 3, 4, 6])
def test_a_damaged_way_to_an_item_makes_it_no_absence(store: Path, clock: Clock, bit: int) -> None:
    file = store / "data.mdb"
    content = bytearray(file.read_bytes())
    places = list(branch_keys(content))
    assert places
    for place in places:
        content[place] ^= 1 << bit
    file.write_bytes(content)
    lost = 0
    with opened(store, clock) as dynamo:
        for number in range(ITEMS):
            try:
                assert get(dynamo, number) is not None, number
            except CorruptData:
                lost += 1
    assert lost > 0


def test_flipped_bytes_anywhere_are_never_served_as_data(tmp_path: Path, clock: Clock) -> None:
    """Each run in a fork of a process: a damaged page may end it, which is no answer either."""
    seed = 20_240_601
    whole = filled(tmp_path / "whole", clock)
    content = (whole / "data.mdb").read_bytes()
    places = random.Random(seed)
    program = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from crash.test_damage import read_all\n"
        "for store in map(Path, sys.argv[2:]):\n"
        "    if not (child := os.fork()):\n"
        "        read_all(store)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    stores = [tmp_path / f"damaged{number}" for number in range(8)]
    for store in stores:
        store.mkdir()
        damaged = bytearray(content)
        for _ in range(40):
            damaged[places.randrange(8192, len(damaged))] ^= 1 << places.randrange(8)
        (store / "data.mdb").write_bytes(damaged)
    command = [sys.executable, "-c", program, str(Path(__file__).resolve().parents[1]), *map(str, stores)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=BOUND_S)
    statuses = [int(line) for line in done.stdout.splitlines()]
    assert 3 not in statuses, f"seed {seed}: {done.stderr}"
    for store, status in zip(stores, statuses, strict=True):
        assert verify(store).damage or status == 0
    assert any(statuses), "no run met any damage"


def read_all(store: Path) -> None:
    """Read every item; exit with 3 if one is not what was written, with 1 if damage was reported."""
    status = 0
    try:
        environment = open_store(store, Clock(), readonly=True)
        dynamo = Dynamo(environment)
        for number in range(ITEMS):
            try:
                item = get(dynamo, number)
            except StorageError:
                status = 1
                continue
            expected = {"S": f"{MARK}-{number:04d}-" + "x" * 200}
            if not isinstance(item, dict) or item.get("text") != expected:
                print(store.name, number, item, file=sys.stderr)
                os._exit(3)
    except Exception:  # noqa: BLE001 - whatever it is, it is no data
        status = 1
    os._exit(status)


@pytest.mark.parametrize("kept", [0.3, 0.7])
def test_a_file_that_was_cut_off_is_refused(store: Path, kept: float) -> None:
    file = store / "data.mdb"
    os.truncate(file, int(file.stat().st_size * kept) // 4096 * 4096)
    with pytest.raises(CorruptData, match="cut off"):
        Environment(store)
    assert "cut off" in verify(store).damage[0]


def test_a_file_that_is_gone_is_no_new_store(store: Path) -> None:
    Environment(store).close()
    (store / "data.mdb").unlink()
    for readonly in (False, True):
        with pytest.raises(CorruptData, match=r"expected .*data\.mdb beside journal/, found none: restore"):
            Environment(store, readonly=readonly)
    assert not (store / "data.mdb").exists()


def test_an_empty_file_is_no_new_store(store: Path) -> None:
    os.truncate(store / "data.mdb", 0)
    with pytest.raises(CorruptData, match="empty"):
        Environment(store)


def test_a_file_that_is_none_is_refused(store: Path) -> None:
    (store / "data.mdb").write_bytes(b"not a store" * 1000)
    with pytest.raises(CorruptData):
        Environment(store)


def test_pages_that_were_freed_before_they_were_written_may_be_missing(tmp_path: Path, clock: Clock) -> None:
    """The file ends before the last page that was ever given out; nothing that is in use is missing."""
    filled(tmp_path / "store", clock)  # with pages that are free, for the commit not to take those at the end
    environment = open_store(tmp_path / "store", clock)

    def put_and_take_back(transaction: object) -> None:
        transaction.put("parked", b"large", b"x" * 1_000_000)  # type: ignore[attr-defined]
        transaction.delete("parked", b"large")  # type: ignore[attr-defined]
        transaction.put("parked", b"small", b"y")  # type: ignore[attr-defined]

    environment.write(put_and_take_back)
    needed = (environment.lmdb.info()["last_pgno"] + 1) * environment.lmdb.stat()["psize"]
    environment.close()
    assert (tmp_path / "store" / "data.mdb").stat().st_size < needed
    again = open_store(tmp_path / "store", clock)
    with again.read() as transaction:
        assert transaction.get("parked", b"small") == b"y"
    again.close()


def serve(data: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "afterwrite", "serve", "--data", str(data), "--listen", "127.0.0.1:0"]
    return subprocess.run(command, capture_output=True, check=False, timeout=BOUND_S)


def test_a_damaged_store_is_refused_at_the_start_in_one_line(store: Path) -> None:
    data = store.parent
    os.truncate(store / "data.mdb", 20 * 4096)
    done = serve(data)
    assert done.returncode == 2
    assert b"cut off; restore it from a backup" in done.stderr
    assert done.stderr.count(b"\n") == 1
    check = subprocess.run(
        [sys.executable, "-m", "afterwrite", "check", "--data", str(data), "--json"], capture_output=True, check=False
    )
    assert check.returncode == 1
    assert "cut off" in orjson.loads(check.stdout)["damage"][0]


# Starts and stops an engine on one directory, and then tries another as a user who may not write there. What the
# engine imports only when it starts is imported by the first: that user may not read this interpreter's files either.
START_UNPRIVILEGED = """
import os, sys
from pathlib import Path
from afterwrite.config import Settings
from afterwrite.errors import StorageError
from afterwrite.wiring import Engine
with Engine(None, Settings(Path(sys.argv[1]))):
    pass
os.seteuid(65534)
try:
    Engine(None, Settings(Path(sys.argv[2]))).start()
except StorageError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up privileges needs root")
@pytest.mark.parametrize("filled_before", [False, True], ids=["empty", "with a store"])
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path, filled_before: bool) -> None:
    data = tmp_path / "read-only"
    data.mkdir()
    if filled_before:
        with Engine(None, Settings(data)):
            pass
    for directory, _, files in os.walk(data):
        for name in files:
            Path(directory, name).chmod(0o444)
        Path(directory).chmod(0o555)
    # The directories above it are this user's alone.
    for parent in [tmp_path, *list(tmp_path.parents)[:2]]:
        parent.chmod(0o755)
    command = [sys.executable, "-c", START_UNPRIVILEGED, str(tmp_path / "writable"), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND_S)
    assert "choose one that can be written to" in done.stdout, done.stdout + done.stderr
