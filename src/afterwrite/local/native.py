"""Tables for code in the engine's process: the same operations as over the wire, in Python values, no socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from afterwrite.core.table_client import KeyNames, WireTable
from afterwrite.core.values import Item, encode_item
from afterwrite.errors import DeclarationError, InvalidValue, StorageError
from afterwrite.store import items, plain_puts
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.operations import Operations
from afterwrite.store.operations.items import READS
from afterwrite.store.plain_batches import PlainBatch, PlainPut
from afterwrite.store.plain_puts import PlainPuts
from afterwrite.store.plain_writes import PlainWrites
from afterwrite.store.prepared import Read
from afterwrite.store.tables import Table
from afterwrite.table.writes import Put, unconditional_put

_COMMIT_ITEMS: Final = 1000
_COMMIT_BYTES: Final = 4 << 20
# Items that are read together: where one of them is not plain, each is read alone.
_READ_ITEMS: Final = 200

_Puts: TypeAlias = PlainBatch | PlainPut | Put
_Given = TypeVar("_Given")
ExecuteWrite: TypeAlias = Callable[[str, dict[str, Any]], Mapping[str, Any] | None]


class NativeServices:
    """What functions may use on the embedded engine.

    `write` carries out requests that write, where another process does.
    """

    def __init__(
        self, environment: Environment, operations: Operations, files: Path, write: ExecuteWrite | None = None
    ) -> None:
        self._environment = environment
        self._operations = operations
        self._files = files
        self._write = write
        self._plain_puts = PlainPuts(environment)
        self._plain_writes = PlainWrites(environment)

    def table(self, name: str) -> NativeTable:
        """The table `name`. Raises DeclarationError where there is none."""
        table = self._environment.state["catalog"].get(name)
        if table is None:
            raise DeclarationError(f"expected a table of this engine, got {name!r}: declare it in the app")
        return NativeTable(self, table)

    def has_table(self, name: str) -> bool:
        """Whether there is a table `name`."""
        return name in self._environment.state["catalog"]

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        """Apply all writes or none, each in the form of TransactWriteItems. Raises TransactionCanceled."""
        self.execute("TransactWriteItems", {"TransactItems": list(writes)})

    def directory(self, name: str) -> Path:
        """A directory for files of the app, made where it is missing. Raises StorageError without a data directory."""
        if not name or "/" in name or name.startswith("."):
            raise DeclarationError(f"expected a plain directory name, got {name!r}: use letters, digits and '-'")
        path = self._files / name
        try:
            self._files.mkdir(exist_ok=True)
            path.mkdir(exist_ok=True)
        except FileNotFoundError:
            raise StorageError(
                f"expected the data directory {self._files.parent}, found none: it was moved or deleted; put it back, "
                "or restart the engine"
            ) from None
        return path

    def execute(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        """An operation of DynamoDB by its wire name and body. Raises InvalidValue, ServiceError and StorageError."""
        try:
            return self._execute(operation, body)
        except UnicodeEncodeError as error:
            raise _half_a_character(error) from None

    def _execute(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if self._write is not None and operation not in READS:
            return dict(self._write(operation, body) or {})
        prepare = self._operations.prepare
        plain = self._plain_writes.prepare_parsed(operation, body, prepare)
        prepared = plain or prepare(operation, body)
        if isinstance(prepared, Read):
            with self._environment.read() as transaction:
                return dict(prepared.body(transaction, self._environment.state["catalog"]))
        if plain is None:
            self._plain_writes.learn(operation, body)
        answer = self._environment.write(prepared.run)
        return {} if answer is None else dict(answer)

    def put_items(self, table_name: str, items: Iterable[Item]) -> int:
        """Put items in the wire form, in order, many in one commit; how many they were, all of them durable."""
        return self._put(table_name, items, self._puts_of)

    def put_values(self, table_name: str, items: Iterable[Mapping[str, Any]]) -> int:
        """The same of items of Python's values. Raises InvalidValue, too."""
        return self._put(table_name, items, self._puts_of_values)

    def _put(
        self, table_name: str, items: Iterable[_Given], puts_of: Callable[[str, list[_Given]], list[_Puts]]
    ) -> int:
        count = 0
        pending: Future[None] | None = None
        try:
            for batch in _batches(puts_of(table_name, some) for some in _portions(items)):
                # While one batch is on its way to the disk the next is encoded.
                if pending is not None:
                    pending.result()
                pending = self._submit(batch)
                count += sum(map(_items_in, batch))
        except UnicodeEncodeError as error:
            raise _half_a_character(error) from None
        finally:
            if pending is not None:
                pending.result()
        return count

    def _puts_of(self, table_name: str, items: list[Item]) -> list[_Puts]:
        plain = self._plain_puts.puts_of(table_name, items)
        if plain is not None:
            return [plain]
        return [self._plain_puts.put_of(table_name, item) or unconditional_put(table_name, item) for item in items]

    def _puts_of_values(self, table_name: str, items: list[Mapping[str, Any]]) -> list[_Puts]:
        plain = self._plain_puts.puts_of_values(table_name, items)
        return self._puts_of(table_name, list(map(encode_item, items))) if plain is None else [plain]

    def _submit(self, batch: Sequence[_Puts]) -> Future[None]:
        future: Future[None] = Future()

        def on_done(_: None, error: BaseException | None) -> None:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._environment.submit(partial(_put_items, puts=batch), on_done)
        return future


def _half_a_character(error: UnicodeEncodeError) -> InvalidValue:
    """The refusal of a text that no store can hold."""
    return InvalidValue(
        f"expected text of whole characters, got half of a surrogate pair, {error.object[error.start]!a}: replace it, "
        "or leave it out"
    )


def _portions(items: Iterable[_Given]) -> Iterator[list[_Given]]:
    source = iter(items)
    while some := list(islice(source, _READ_ITEMS)):
        yield some


def _batches(portions: Iterable[list[_Puts]]) -> Iterator[list[_Puts]]:
    """The puts of the portions, as many together as one commit is to hold."""
    batch: list[_Puts] = []
    batch_items = batch_bytes = 0
    for puts in portions:
        batch += puts
        batch_items += sum(map(_items_in, puts))
        batch_bytes += sum(len(each.puts) if isinstance(each, PlainBatch) else each.item_bytes for each in puts)
        if batch_items >= _COMMIT_ITEMS or batch_bytes >= _COMMIT_BYTES:
            yield batch
            batch, batch_items, batch_bytes = [], 0, 0
    if batch:
        yield batch


def _items_in(puts: _Puts) -> int:
    return len(puts.places) if isinstance(puts, PlainBatch) else 1


def _put_items(transaction: WriteTransaction, puts: Sequence[_Puts]) -> None:
    for put in puts:
        if isinstance(put, PlainBatch):
            plain_puts.write_all(transaction, put)
        elif isinstance(put, PlainPut):
            plain_puts.write(transaction, put)
        else:
            items.write(transaction, put)


def _queried_indexes(table: Table) -> Iterator[tuple[str, KeyNames]]:
    """The indexes with one attribute as the partition key, and at most one as the sort key, and their names."""
    for index in table.indexes:
        partition, sort = index.schema.partition_attributes, index.schema.sort_attributes
        if len(partition) == 1 and len(sort) <= 1:
            yield index.schema.name, (partition[0].name, sort[0].name if sort else None)


class NativeTable(WireTable):
    """The TableClient of a table in this process."""

    def __init__(self, services: NativeServices, table: Table) -> None:
        keys = (table.schema.partition_key, table.schema.sort_key)
        super().__init__(services.execute, table.name, keys, dict(_queried_indexes(table)))
        self._services = services

    def put_many(self, items: Iterable[Mapping[str, Any]]) -> int:
        """Put items without conditions, in order, many in one commit; how many they were, all of them durable.

        Raises what `put` raises. A batch (of at most 1,000) with a bad item is not put; what came before it stays.
        """
        return self._services.put_values(self._name, items)
