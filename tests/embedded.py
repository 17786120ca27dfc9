"""The embedded engine's parts, driven step by step: a clock that stands still, and no thread but the store's writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from afterwrite import App
from afterwrite.app import Table, lanes_of
from afterwrite.config import Identity
from afterwrite.core.changes import Change
from afterwrite.core.values import encode_item
from afterwrite.engine.pipeline import Pipeline
from afterwrite.engine.telemetry import Telemetry
from afterwrite.local.fan_out import FanOut
from afterwrite.local.native import NativeServices
from afterwrite.local.steps import EmbeddedSteps
from afterwrite.sources.embedded import EmbeddedSource
from afterwrite.store import change_log, items, tables
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.operations import Operations
from afterwrite.table.schema import KeySchema

START_MS = 1_700_000_000_000


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_us = now_ms * 1000

    @property
    def now_ms(self) -> int:
        return self.now_us // 1000

    def advance(self, *, ms: int = 0, s: float = 0) -> None:
        self.now_us += ms * 1000 + int(s * 1_000_000)

    def __call__(self) -> int:
        return self.now_us


def open_store(path: Path, clock: Callable[[], int], **options: Any) -> Environment:
    """The store in `path`, with its catalog read."""
    environment = Environment(path, clock_us=clock, **options)
    with environment.read() as transaction:
        environment.state["catalog"] = tables.load_catalog(transaction)
    return environment


class Dynamo:
    """DynamoDB's operations on a store, by wire name, without a wire."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.services = NativeServices(environment, Operations(Identity()), Path("/nonexistent"))

    def __call__(self, operation: str, /, **body: Any) -> dict[str, Any]:
        # A body belongs to its request: parsing may change it.
        return self.services.execute(operation, orjson.loads(orjson.dumps(body)))

    def create(
        self, name: str = "things", *, sort_key: str | None = "sk", view_type: str | None = "NEW_AND_OLD_IMAGES"
    ) -> tables.Table:
        """Create a table with the partition key `pk`, both keys text."""
        schema = KeySchema("pk", "S", sort_key, sort_key and "S")
        return self.environment.write(
            lambda transaction: tables.create_table(transaction, name, schema, view_type=view_type)
        )

    def put(self, table: str = "things", /, **item: Any) -> None:
        """Put an item of Python values."""
        self("PutItem", TableName=table, Item=encode_item(item))

    def delete(self, table: str = "things", /, **key: Any) -> None:
        """Delete an item by its key attributes."""
        self("DeleteItem", TableName=table, Key=encode_item(key))

    def items(self, table: str = "things") -> list[dict[str, Any]]:
        """The table's items in the wire form, in the order of their keys."""
        with self.environment.read() as transaction:
            found = self.environment.state["catalog"][table]
            return [orjson.loads(text) for _, text in items.scan(transaction, found)]

    def changes(self, table: str = "things", after: int = 0) -> list[Change]:
        """The table's changes, oldest first."""
        with self.environment.read() as transaction:
            stream = self.environment.state["catalog"][table].stream
            return [change for _, change in change_log.read(transaction, stream, after)]


class Parts:
    """An app's routes over a store: a pipeline a table, taken step by step."""

    def __init__(self, app: App, environment: Environment) -> None:
        self.app = app
        self.environment = environment
        environment.write(self._declare)
        self.dynamo = Dynamo(environment)
        self.fan_out = FanOut(app, Identity())
        self.steps = EmbeddedSteps(environment, self.fan_out, Identity())

    def _declare(self, transaction: WriteTransaction) -> None:
        for table in self.app.tables:
            if table.name not in tables.catalog(transaction):
                partition, sort = table.partition_key, table.sort_key
                sort_names = (None, None) if sort is None else (sort.name, sort.type)
                schema = KeySchema(partition.name, partition.type, *sort_names)
                tables.create_table(transaction, table.name, schema, view_type=table.view_type)

    def pipeline(self, table: Table, **options: Any) -> Pipeline:
        """The pipeline of a table, at its last committed position."""
        source = EmbeddedSource(self.environment, self.environment.state["catalog"][table.name], lanes_of(table))
        return Pipeline(table.name, source, table.router(), options.get("sink", self.steps), Telemetry())

    def run(self, table: Table) -> None:
        """Take steps until every change is read."""
        pipeline = self.pipeline(table)
        while pipeline.run_once() is not None:
            pass

    def queue(self, name: str) -> list[Any]:
        """The bodies of a queue's messages, lane by lane."""
        return [message.body for message in self.messages(name)]

    def messages(self, name: str) -> list[Any]:
        """A queue's messages, lane by lane."""
        from afterwrite.store import waiting_messages

        with self.environment.read() as transaction:
            return list(waiting_messages.messages(transaction, name))
