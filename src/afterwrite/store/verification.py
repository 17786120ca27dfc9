"""Reading the whole store: every entry's checksum, its way from the root, the counts that are kept, the indexes.

Damage in the pages between the entries can kill the process that reads them, so `verify` reads in one of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.errors import CorruptData, StorageError
from afterwrite.store import indexes, items, long_keys, tables
from afterwrite.store.checksums import unseal
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.store.indexes import Index
from afterwrite.store.names import U32, span
from afterwrite.store.tables import Table
from afterwrite.table.sizes import item_size

_DAMAGES_NAMED_MAX: Final = 100


# The exit status of a process that could not begin to read.
_REFUSED: Final = 3


@dataclass(frozen=True, slots=True)
class Verification:
    """What reading everything found: entries read, and what is wrong, in words; `damage` is empty for a whole store.

    `figures` are sizes that are told of indexes and are not those of their entries, as in a store that was written when
    sizes were counted by another rule: they are shown, and nothing depends on them.
    """

    entries: int
    damage: list[str]
    figures: list[str] = field(default_factory=list)


def verify(directory: Path) -> Verification:
    """Read the whole store in `directory`, as of one commit, beside a running engine or without one.

    Raises StorageError where the process that reads cannot be started.
    """
    command = [sys.executable, "-m", "afterwrite.store.verification", str(directory)]
    try:
        reader = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - this interpreter
    except OSError as error:
        raise StorageError(f"cannot start a process to read the store in {directory} ({error})") from error
    if reader.returncode == 0:
        return Verification(**orjson.loads(reader.stdout))
    if reader.returncode == _REFUSED:
        raise StorageError(reader.stderr.decode().strip())
    if reader.returncode > 0:
        raise StorageError(f"reading the store in {directory} failed: {reader.stderr.decode().strip()[-2000:]}")
    return Verification(0, [f"the pages between the entries: the reading process died of signal {-reader.returncode}"])


def read_everything(directory: Path) -> Verification:
    """The same in this process, which damage may kill."""
    entries = 0
    damage: list[str] = []
    figures: list[str] = []
    try:
        environment = Environment(directory, readonly=True)
    except CorruptData as error:
        return Verification(0, [str(error)])
    try:
        with environment.read() as transaction:
            for database in environment.databases:
                for found in _database(environment, transaction, database):
                    if found is None:
                        entries += 1
                    else:
                        damage.append(found)
            if not damage:
                damage.extend(_counts(transaction))
                damage.extend(_indexes(transaction, figures))
    except StorageError as error:
        damage.append(str(error))
    finally:
        environment.close()
    if len(damage) > _DAMAGES_NAMED_MAX:
        damage[_DAMAGES_NAMED_MAX:] = [f"and {len(damage) - _DAMAGES_NAMED_MAX} more"]
    return Verification(entries, damage, figures)


def _database(environment: Environment, transaction: ReadTransaction, database: str) -> Iterator[str | None]:
    """None for each good entry of a database, words for each damage."""
    handle, seed, _ = environment.databases[database]
    raw: Any = transaction.lmdb
    previous: bytes | None = None
    count = 0
    with raw.cursor(handle) as cursor:
        for key, stored in cursor:
            count += 1
            try:
                unseal(seed, key, stored)
            except CorruptData:
                yield f"{database}: the entry {count} with the key {key[:64].hex()} is not what was written"
                previous = None
                continue
            if previous is not None and key <= previous:
                yield f"{database}: the entry {count} with the key {key[:64].hex()} is out of order"
            # A damaged key in the pages above would be found by no look-up.
            elif raw.get(key, db=handle) != stored:
                yield f"{database}: the entry with the key {key[:64].hex()} cannot be looked up"
            else:
                yield None
            previous = key
    expected = raw.stat(handle)["entries"]
    if count != expected:
        yield f"{database}: expected {expected} entries, found {count}"


def _counts(transaction: ReadTransaction) -> Iterator[str]:
    """What does not agree with the counts that every write keeps."""
    for table in tables.load_catalog(transaction).values():
        kept = items.statistics(transaction, table)
        count = size = 0
        for item_bytes in items.sizes(transaction, table):
            count += 1
            size += item_bytes
        if (count, size) != kept:
            yield f"table {table.name}: expected {kept[0]} items of {kept[1]} bytes, found {count} of {size} bytes"


def _indexes(transaction: ReadTransaction, figures: list[str]) -> Iterator[str]:
    """Entries of indexes that their tables do not explain, and items that their indexes do not have.

    `figures` gets the sizes that do not agree where all else does.
    """
    known: set[int] = set()
    for table in tables.load_catalog(transaction).values():
        for index in table.indexes:
            known.add(index.number)
            yield from islice(_index(transaction, table, index, figures), _DAMAGES_NAMED_MAX)
        if table.indexes:
            yield from islice(_missing(transaction, table), _DAMAGES_NAMED_MAX)
    low = b""
    while (entry := next(transaction.scan("indexes", low), None)) is not None:
        number = U32.unpack_from(entry[0])[0]
        if number not in known:
            yield f"indexes: entries of an index {number} that no table has"
        low = U32.pack(number + 1)


def _index(transaction: ReadTransaction, table: Table, index: Index, figures: list[str]) -> Iterator[str]:
    name = f"index {index.schema.name} of table {table.name}"
    count = explained = size = 0
    for key, stored_at in long_keys.scan(transaction, "indexes", *span(index.number)):
        count += 1
        text = items.text_at(transaction, stored_at)
        item = None if text is None else orjson.loads(text)
        if item is None:
            yield f"{name}: the entry {key[:64].hex()} leads to no item"
        elif index.awaits(stored_at) or key != indexes.entry_at(table.schema, index, item):
            yield f"{name}: the entry {key[:64].hex()} is not that of the item it leads to"
        else:
            explained += 1
            size += item_size(index.schema.project(table.schema, item))
    kept_count, kept_size = indexes.statistics(transaction, index.number)
    if not kept_count == count == explained:
        yield f"{name}: expected {kept_count} entries of {kept_size} bytes, found {count} of {size} bytes"
    elif size != kept_size:
        figures.append(
            f"{name}: its size is shown as {kept_size} bytes, its entries have {size}: nothing is lost, and deleting "
            "the index and creating it again counts it anew"
        )


def _missing(transaction: ReadTransaction, table: Table) -> Iterator[str]:
    for stored_at, text in items.scan_stored(transaction, table):
        item = orjson.loads(text)
        for index in table.indexes:
            key = indexes.entry_at(table.schema, index, item)
            if key is None or index.awaits(stored_at):
                continue
            if long_keys.get(transaction, "indexes", key) is None:
                yield (
                    f"index {index.schema.name} of table {table.name}: "
                    f"no entry for the item stored at {stored_at[:64].hex()}"
                )


if __name__ == "__main__":
    try:
        found = read_everything(Path(sys.argv[1]))
    except StorageError as error:
        sys.stderr.write(str(error))
        raise SystemExit(_REFUSED) from None
    sys.stdout.buffer.write(orjson.dumps(asdict(found)))
