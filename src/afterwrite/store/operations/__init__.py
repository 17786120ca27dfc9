"""DynamoDB's operations by name: a request's body becomes a read or a write of the store.

A body is parsed and validated before the store is asked; what comes back is the function to run in a read or in
the next commit.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store.buckets import Buckets
from afterwrite.store.environment import Environment
from afterwrite.store.operations import absences, destinations, insights, items, recovery, statements
from afterwrite.store.operations.backups import BackupOperations
from afterwrite.store.operations.descriptions import Descriptions
from afterwrite.store.operations.policies import PolicyOperations
from afterwrite.store.operations.table_arns import named_as_given
from afterwrite.store.operations.tables import TableOperations
from afterwrite.store.operations.transfers import TransferOperations
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.table_backups import TableBackups
from afterwrite.table import request_shapes
from afterwrite.table.constraints import all_broken
from afterwrite.table.transaction_members import without_unread
from afterwrite.table.wording import worded

_TRANSACTIONS: Final = ("TransactWriteItems", "TransactGetItems")


@dataclass(frozen=True, slots=True)
class Copies:
    """Where copies of tables are kept, and the store that they are read from and written to."""

    backups: TableBackups
    buckets: Buckets
    environment: Environment

    def by_name(self, descriptions: Descriptions) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations on copies, by their names."""
        return {
            **BackupOperations(descriptions, self.backups, self.environment).by_name(),
            **TransferOperations(descriptions, self.buckets, self.backups, self.environment).by_name(),
        }


class Operations:
    """DynamoDB's operations by name.

    The tables named in `protected` cannot be deleted, and keep their streams. Those on backups, exports and imports are
    offered where `copies` says where they are kept.
    """

    def __init__(
        self,
        identity: Identity,
        protected: Collection[str] = (),
        *,
        copies: Copies | None = None,
    ) -> None:
        descriptions = Descriptions(identity, frozenset(protected))
        self._tables = TableOperations(identity, frozenset(protected))
        self._by_name: Mapping[str, Callable[[Body], Prepared]] = {
            **items.by_name(),
            **statements.by_name(),
            **self._tables.by_name(),
            **absences.by_name(),
            **insights.by_name(),
            **recovery.by_name(),
            **PolicyOperations(descriptions).by_name(),
            **({} if copies is None else copies.by_name(descriptions)),
            "EnableKinesisStreamingDestination": lambda body: Write(destinations.enable(body, identity)),
            "DisableKinesisStreamingDestination": lambda body: Write(destinations.disable(body)),
            "UpdateKinesisStreamingDestination": lambda body: Write(destinations.update(body)),
            "DescribeKinesisStreamingDestination": lambda body: Read(destinations.describe(body)),
        }

    def listens_at(self, host: str, port: int) -> None:
        """Where requests reach these operations, which is what DescribeEndpoints answers."""
        self._tables.endpoint = f"{host}:{port}"

    def names(self) -> Iterator[str]:
        """The operations that are offered."""
        return iter(self._by_name)

    def prepare(self, name: str, body: Body) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        operation = self._by_name.get(name)
        if operation is None:
            refused = absences.refused_of_a_table(name, body)
            if refused is not None:
                return refused
            raise absences.refusal(name, body)
        try:
            return named_as_given(name, body, operation(body))
        except ServiceError as error:
            # Rare, so that nobody looks for it in a transaction that is valid as it is.
            if name in _TRANSACTIONS and (read := without_unread(body)) is not body:
                return self.prepare(name, read)
            request_shapes.check(name, body)
            raise worded(name, body, all_broken(name, body, error)) from None
