"""A mapping on the embedded store, taken round by round: a clock that stands still, and the function's own threads."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from afterwrite import App
from afterwrite.app import Table
from afterwrite.config import Identity
from afterwrite.core.event_source_mapping.declaration import EventSourceMapping, KinesisStream
from afterwrite.core.event_source_mapping.failures import MappingIdentity
from afterwrite.core.event_source_mapping.ports import ShardSource
from afterwrite.engine.event_source_mapping import MappingWork
from afterwrite.engine.given_up import GivenUpWork
from afterwrite.engine.telemetry import Telemetry
from afterwrite.local.fan_out import FanOut
from afterwrite.local.mapping_ledger import EmbeddedGivenUp, EmbeddedMappingLedger, function_arn
from afterwrite.sources.shards import KinesisShards, TableShards
from afterwrite.store import kinesis, streams, waiting_messages
from afterwrite.store.environment import Environment
from afterwrite.store.queues import Message
from bounds import BOUND_S
from embedded import Clock, Dynamo, open_store


class Mapped:
    """An app's mappings over a store. `deliver` runs rounds until nothing runs and nothing is due."""

    def __init__(self, app: App, path: Path) -> None:
        self.app = app
        self.path = path
        self.clock = Clock()
        self.environment: Environment = open_store(path / "store", self.clock)
        self.dynamo = Dynamo(self.environment)
        for table in app.tables:
            self.dynamo.create(table.name)
        for stream in app.kinesis_streams:
            self.environment.write(
                lambda transaction, stream=stream: kinesis.create(  # type: ignore[misc]
                    transaction, stream.name, stream.shard_count, mode="PROVISIONED", tags={}
                )
            )
        self.wake = threading.Event()

    def source(self, mapping: EventSourceMapping) -> ShardSource:
        if mapping.settings.source == "kinesis":
            return KinesisShards(self.environment, mapping.source_name, Identity(), mapping.settings)
        stream = self.environment.state["catalog"][mapping.source_name].stream
        return TableShards(self.environment, stream, Identity(), mapping.settings)

    def ledger(self, mapping: EventSourceMapping) -> EmbeddedMappingLedger:
        identity = self.identity(mapping)
        fan_out = FanOut(self.app, Identity())
        return EmbeddedMappingLedger(self.environment, fan_out, self.app, mapping, identity, self.path / "files")

    def identity(self, mapping: EventSourceMapping) -> MappingIdentity:
        arn = function_arn(Identity(), mapping.function_name)
        return MappingIdentity(mapping.uuid, arn, self.source(mapping).stream_arn, mapping.settings.source)

    def work(self, declared: Table | KinesisStream, **parts: Any) -> MappingWork:
        """The work of the one mapping of a table or stream, at its last committed position."""
        (mapping,) = declared.event_source_mappings
        work = MappingWork(
            mapping,
            self.identity(mapping),
            parts.pop("source", None) or self.source(mapping),
            parts.pop("ledger", None) or self.ledger(mapping),
            self.dynamo.services,
            Telemetry(),
            now_ms=self.environment.now_ms,
            new_id=lambda: str(uuid.uuid4()),
            **parts,
        )
        work.watch(self.wake)
        return work

    def given_up_work(self, declared: Table | KinesisStream) -> GivenUpWork:
        """What hands over again what the one mapping of a table or stream gave up on."""
        (mapping,) = declared.event_source_mappings
        return GivenUpWork(
            mapping,
            self.identity(mapping),
            self.source(mapping),
            EmbeddedGivenUp(self.environment, mapping.uuid),
            self.dynamo.services,
            Telemetry(),
            now_ms=self.environment.now_ms,
            new_id=lambda: str(uuid.uuid4()),
        )

    def deliver(self, work: MappingWork, *, until: Callable[[], bool] | None = None, wait_s: float = BOUND_S) -> None:
        """Run rounds, the clock moved to whatever is due, until nothing is left, or until something holds."""
        deadline_s = time.monotonic() + wait_s
        while time.monotonic() < deadline_s:
            self.wake.clear()
            work.run_once()
            if until is not None and until():
                return
            if work.is_running:
                self.wake.wait(0.05)
            elif (due_ms := work.due_ms) is not None:
                self.clock.advance(ms=max(0, due_ms - self.clock.now_ms))
            elif until is None:
                return
        raise AssertionError("the mapping does not come to rest")

    def roll_over(self, table: Table) -> None:
        """Close every open shard of the table's stream; each gets a child."""
        number = self.environment.state["catalog"][table.name].stream.number

        def run(transaction: Any) -> None:
            state = streams.state_of(transaction, number)
            assert state is not None
            streams.roll_over(transaction, state, lambda _: True)

        self.environment.write(run)

    def split(self, table: Table, shard: int) -> None:
        number = self.environment.state["catalog"][table.name].stream.number

        def run(transaction: Any) -> None:
            state = streams.state_of(transaction, number)
            assert state is not None
            streams.split(transaction, state, shard)

        self.environment.write(run)

    def messages(self, queue: str) -> list[Message]:
        with self.environment.read() as transaction:
            return list(waiting_messages.messages(transaction, queue))

    def bodies(self, queue: str) -> list[Any]:
        return [message.body for message in self.messages(queue)]
