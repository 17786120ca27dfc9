"""What functions may use on AWS: the app's tables in DynamoDB, and the disk that an invocation has."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from afterwrite.app import GlobalIndex, Table
from afterwrite.core.table_client import KeyNames, WireTable
from afterwrite.errors import DeclarationError
from afterwrite.remote.dynamodb_client import Client, execute


def _names(keyed: Table | GlobalIndex) -> KeyNames:
    return keyed.partition_key.name, None if keyed.sort_key is None else keyed.sort_key.name


class RemoteServices:
    """The Services of functions on AWS. `names` are the tables' names there, by their declared names.

    A directory is in `files`, on the disk of the process that runs the function: it may be gone with the invocation.
    """

    def __init__(
        self, client: Callable[[], Client], tables: Sequence[Table], names: Mapping[str, str], files: Path
    ) -> None:
        self._client = client
        self._tables = {table.name: table for table in tables}
        self._names = names
        self._files = files

    def table(self, name: str) -> WireTable:
        """The table `name`. Raises DeclarationError where the app declares none."""
        table = self._tables.get(name)
        if table is None:
            raise DeclarationError(f"expected a table that this app declares, got {name!r}: declare it on the same App")
        indexes = {index.name: _names(index) for index in table.indexes}
        return WireTable(self._execute, self._names.get(name, name), _names(table), indexes)

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        """Apply all writes or none, each in the form of TransactWriteItems. Raises TransactionCanceled."""
        self._execute("TransactWriteItems", {"TransactItems": [dict(self._renamed(write)) for write in writes]})

    def directory(self, name: str) -> Path:
        """A directory for files of the app, made where it is missing."""
        if not name or "/" in name or name.startswith("."):
            raise DeclarationError(f"expected a plain directory name, got {name!r}: use letters, digits and '-'")
        path = self._files / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _renamed(self, write: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for kind, fields in write.items():
            yield kind, {**fields, "TableName": self._names.get(fields["TableName"], fields["TableName"])}

    @functools.cached_property
    def _execute(self) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
        return functools.partial(execute, self._client())
