"""The embedded engine: an app and settings become loops, services and a server."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from afterwrite import backups, config
from afterwrite.app import App, Table, refuse_foreign_targets
from afterwrite.backups import Backup
from afterwrite.config import Durability, Settings
from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.event_source_mapping.failures import MappingIdentity
from afterwrite.core.event_source_mapping.ports import ShardSource
from afterwrite.engine.event_source_mapping import MappingWork
from afterwrite.engine.given_up import GivenUpWork
from afterwrite.engine.intake import Intake
from afterwrite.engine.lag_watch import LagWatch
from afterwrite.engine.loops import Loop, Work
from afterwrite.engine.telemetry import Telemetry
from afterwrite.engine.upkeep import Upkeep
from afterwrite.errors import AfterwriteError
from afterwrite.inspection import DataReader
from afterwrite.local.fan_out import FanOut
from afterwrite.local.kinesis_arrivals import KinesisArrivals
from afterwrite.local.lags import EmbeddedLags, TopicAlarms
from afterwrite.local.lambda_functions import LocalFunctions
from afterwrite.local.mapping_ledger import EmbeddedGivenUp, EmbeddedMappingLedger, function_arn
from afterwrite.local.native import NativeServices, NativeTable
from afterwrite.local.parked import EmbeddedParked
from afterwrite.local.queue_tasks import QueueTaskWork
from afterwrite.local.replays import ReplayWork
from afterwrite.local.steps import put_all
from afterwrite.server import in_process, kinesis_requests
from afterwrite.server.administration import AdministrationService
from afterwrite.server.aws_json import AwsJson, Service
from afterwrite.server.aws_query import AwsQuery, QueryService
from afterwrite.server.dynamodb import DynamoDBService
from afterwrite.server.dynamodb_streams import DynamoDBStreamsService
from afterwrite.server.eventbridge import EventBridgeService
from afterwrite.server.firehose import FirehoseService
from afterwrite.server.front import TakeTogether
from afterwrite.server.http import Handler
from afterwrite.server.kinesis import KinesisService
from afterwrite.server.long_polling import LongPolls
from afterwrite.server.long_reads import LongReads
from afterwrite.server.placing import Placing
from afterwrite.server.rest_json import RestJson
from afterwrite.server.sns import SnsService
from afterwrite.server.sqs import SqsService
from afterwrite.server.sqs_query import SqsByQuery
from afterwrite.server.sqs_queues import SqsQueues, declared_queues
from afterwrite.sources.shards import KinesisShards, TableShards
from afterwrite.store import ledger, streams, table_restoring, tables, upkeep
from afterwrite.store.buckets import Buckets
from afterwrite.store.data_directory import DataDirectory, DirectoryLock
from afterwrite.store.operations import Copies, Operations
from afterwrite.store.streams import StreamSettings
from afterwrite.store.table_backups import TableBackups
from afterwrite.wiring.app_processes import AppProcesses
from afterwrite.wiring.declared import (
    cut_waits,
    declare_indexes,
    declare_kinesis_streams,
    declare_paths,
    declare_tables,
    keep_topology,
)
from afterwrite.wiring.seams import Seams
from afterwrite.wiring.server_thread import ServerThread
from afterwrite.wiring.works import LOOPS_S_MAX, Works

if TYPE_CHECKING:
    from boto3 import Session

# The writer, the event loop and the pipeline take turns on one interpreter. At the default of 5 ms a write waits longer
# for its turn than for the disk; much shorter, the threads that wait cost more than those that run.
_SWITCH_INTERVAL_S = 0.002
# Functions that run when the engine stops may take this long to end; else they run again at the next start.
_FINISH_S_MAX = 10.0
_NO_APP = "tables"
# A change that comes by Kinesis waits this long for older ones; event source mappings on AWS look once a second.
REORDERING_MS = 200
_RELAXED_SYNC_INTERVAL_S = 1.0


class Engine:
    """The embedded engine: one process, one data directory.

    Without an `app` it serves the directory's tables and runs no routes; where an app's routes ran before, their
    changes are kept until it runs again. `start` returns when requests are answered; `stop` finishes what is being
    done and lets the directory go.
    Raises DataDirectoryInUse, StorageError, DeclarationError, and OSError where the address cannot be had.
    """

    def __init__(
        self,
        app: App | None,
        settings: Settings,
        *,
        seams: Seams | None = None,
        processes: AppProcesses | None = None,
    ) -> None:
        self._seams = seams or Seams()
        self._app = App(_NO_APP) if app is None else app
        self._runs_app = app is not None
        refuse_foreign_targets(self._app)
        self._settings = settings
        self._directory = DataDirectory(settings.data)
        self._telemetry = Telemetry()
        self._loops: list[Loop] = []
        self._mappings: list[MappingWork] = []
        self._processes = processes
        self._works: Works | None = None
        self._server: ServerThread | None = None
        self._closing = ExitStack()
        self._address: tuple[str, int] | None = None
        self._running = False

    @property
    def address(self) -> tuple[str, int]:
        """The host and port it listens on. Raises AfterwriteError where it listens on none."""
        if self._address is None:
            raise AfterwriteError("this engine listens on no socket: start it with an address to listen on")
        return self._address

    def start(self) -> None:
        """Open the data directory, listen, and run the app's flows."""
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        with ExitStack() as closing:
            self._directory.refuse_if_held()
            if self._settings.port is not None:
                # Before the directory is made: an address that cannot be had leaves nothing behind.
                self._server = ServerThread(self._settings)
                closing.callback(self._server.stop)
                self._address = self._server.bind()
            self._lock = DirectoryLock(self._directory)
            closing.callback(self._lock.release)
            self._directory.refuse_lost_store()
            relaxed = self._settings.durability == "relaxed"
            self._environment = self._seams.open_store(
                self._directory.store, sync_interval_s=_RELAXED_SYNC_INTERVAL_S if relaxed else None
            )
            closing.callback(self._environment.close)
            self._environment.watch_file(self._directory.lock_file)
            self._loops, self._mappings, self._works = [], [], None
            closing.callback(self._stop_work)
            self._start()
            if self._server is not None:
                self._environment.drive(
                    self._server.waker(self._environment.commit_waiting, lambda: self._environment.waiting),
                    self._server.take_arrived,
                )
                closing.callback(self._server.stop)
                closing.callback(self._environment.stop_driving)
                if self._processes is not None:
                    closing.callback(self._processes.stop)
                    self._processes.begin(self._environment, self._operations, self._server, self._lock.descriptors)
                self._server.serve(*self._answering(self._server.run_soon, self._settings.credentials))
            closing.callback(self._polls.close)
            closing.callback(self._long_reads.close)
            self._lock.describe(self._description())
            if self._works is not None:
                self._works.start()
            for loop in self._loops:
                loop.start()
            self._closing = closing.pop_all()
        self._running = True

    def _start(self) -> None:
        environment, identity = self._environment, self._settings.identity
        streams.configure(
            environment.state, StreamSettings(self._settings.stream_shards, self._settings.shard_rollover_s)
        )
        with environment.read() as transaction:
            environment.state["catalog"] = tables.load_catalog(transaction)
        environment.write(lambda transaction: declare_tables(transaction, self._app))
        declare_indexes(environment, self._app)
        environment.write(lambda transaction: declare_kinesis_streams(transaction, self._app))
        declare_paths(environment, self._app, identity, self._telemetry)
        if self._runs_app:
            environment.write(lambda transaction: keep_topology(transaction, self._app))
            environment.write(lambda transaction: cut_waits(transaction, self._app))
        with environment.read() as transaction:
            consumed = (ledger.note(transaction, "topology") or {}).get("tables", [])
        # A table that was deleted and made anew would be another stream, and its routes would not run.
        protected = [*consumed, *(table.name for table in self._app.tables)]
        backups = TableBackups(self._directory.backups)
        backups.sweep([*table_restoring.copies(environment.state["catalog"])])
        copies = Copies(backups, Buckets(self._directory.buckets), environment)
        operations = Operations(identity, protected, copies=copies)
        self._operations = operations
        self.services = NativeServices(environment, operations, self._directory.files)
        self._polls = LongPolls(environment)
        self._long_reads = LongReads(environment)
        consumers = {name: name for name in consumed}
        self._fan_out = FanOut(self._app, identity)
        self._wire_services = self._services(operations)
        if self._processes is None:
            self._works = Works(self._app, self._settings, environment, self.services, self._seams)
        works = [*self._own_works(), Upkeep(lambda: upkeep.run(environment, consumers, backups), self._telemetry)]
        self._loops = [Loop(work, self._telemetry) for work in works]
        if self._address is not None:
            operations.listens_at(*self._address)

    def _answering(
        self, run_soon: Callable[[Callable[[], None]], None], credentials: Mapping[str, str] | None
    ) -> tuple[Handler, TakeTogether | None]:
        """By path Lambda's and Bedrock's requests, by target those of JSON protocols, else the query protocol's.

        And what takes requests together, where nobody has to see each.
        """
        app, environment, identity = self._app, self._environment, self._settings.identity
        by_query = AwsQuery(environment, self._query_services, run_soon, polls=self._polls, credentials=credentials)
        by_target = AwsJson(
            environment,
            self._wire_services,
            run_soon,
            polls=self._polls,
            long_reads=self._long_reads,
            without_target=by_query.handle,
            credentials=credentials,
            in_cbor={KinesisService.target: kinesis_requests.IN_CBOR},
        )
        functions = LocalFunctions(app, environment, self._fan_out, self.services, identity)
        models = {model.model_id: model for model in app.models}
        by_path = RestJson(functions, models, run_soon, by_target.handle, new_id=_new_id, credentials=credentials)
        handler = self._seams.handler(by_path.handle)
        sees_each = credentials is not None or handler != by_path.handle
        return handler, None if sees_each else by_target.take_together

    def _services(self, operations: Operations) -> list[Service]:
        app, identity, now_ms = self._app, self._settings.identity, self._environment.now_ms
        placing = Placing(self._fan_out.place, self._fan_out.place_event, put_all)
        streams = {stream.name for stream in app.delivery_streams}
        queues = SqsQueues(declared_queues(app), identity, self._environment)
        if self._address is not None:
            queues.listens_at(*self._address)
        sqs = SqsService(queues)
        sns = SnsService({topic.name for topic in app.topics}, placing, identity, now_ms)
        self._query_services: list[QueryService] = [sns, SqsByQuery(sqs)]
        return [
            DynamoDBService(operations),
            DynamoDBStreamsService(identity, now_ms),
            KinesisService(identity, now_ms),
            EventBridgeService(app.buses, placing, identity, now_ms),
            FirehoseService(streams, placing, identity, now_ms),
            sqs,
            AdministrationService(),
        ]

    def _own_works(self) -> list[Work]:
        """The loops that run in this process whether there are others or not."""
        app, environment = self._app, self._environment
        intakes = [
            Intake(
                table.name,
                self._seams.arrivals(KinesisArrivals(environment, table), table.name),
                self._telemetry,
                window_ms=REORDERING_MS,
                now_ms=environment.now_ms,
            )
            for table in environment.state["catalog"].values()
            if table.stream is not None and table.stream.fed_by is not None
        ]
        works: list[Work] = [*intakes, ReplayWork(environment, self._fan_out), QueueTaskWork(environment)]
        topic = app.alarm_topic
        told = None if topic is None else TopicAlarms(environment, self._fan_out, topic.name, environment.now_ms)
        lags = EmbeddedLags(environment, app, self._directory.store)
        works.append(LagWatch(lags, app.alarm_thresholds, told, self._telemetry))
        for mapping, source in self._mapped():
            works.extend(self._mapping_works(mapping, source))
        return works

    def _mapped(self) -> Iterator[tuple[EventSourceMapping, ShardSource]]:
        environment, identity = self._environment, self._settings.identity
        for table in self._app.tables:
            for mapping in table.event_source_mappings:
                stream = environment.state["catalog"][table.name].stream
                yield mapping, TableShards(environment, stream, identity, mapping.settings)
        for kinesis_stream in self._app.kinesis_streams:
            for mapping in kinesis_stream.event_source_mappings:
                yield mapping, KinesisShards(environment, kinesis_stream.name, identity, mapping.settings)

    def _mapping_works(self, mapping: EventSourceMapping, source: ShardSource) -> Iterator[Work]:
        """The loop of a mapping, and that of what it gave up on."""
        arn = function_arn(self._settings.identity, mapping.function_name)
        identity = MappingIdentity(mapping.uuid, arn, source.stream_arn, mapping.settings.source)
        files = self._directory.files
        kept = EmbeddedMappingLedger(self._environment, self._fan_out, self._app, mapping, identity, files)
        parts = self.services, self._telemetry
        now_ms, mapped = self._environment.now_ms, self._seams.mapping(mapping)
        work = MappingWork(mapped, identity, source, kept, *parts, now_ms=now_ms, new_id=_new_id)
        self._mappings.append(work)
        yield work
        batches = EmbeddedGivenUp(self._environment, mapping.uuid)
        yield GivenUpWork(mapped, identity, source, batches, *parts, now_ms=now_ms, new_id=_new_id)

    def _description(self) -> Mapping[str, Any]:
        """What `afterwrite status` says of this engine."""
        description: dict[str, Any] = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        if self._address is not None:
            description["listening"] = f"{self._address[0]}:{self._address[1]}"
        if self._runs_app:
            description["app"] = self._app.name
        return description

    def table(self, table: Table | str) -> NativeTable:
        """A table, declared by the app or named, to read and write in this process."""
        return self.services.table(table if isinstance(table, str) else table.name)

    def boto3_session(self) -> Session:
        """A boto3 session whose clients and resources are answered by this engine, without a socket.

        Nothing that it sends leaves the process. Raises ImportError without boto3.
        """
        handler, _ = self._answering(lambda respond_all: respond_all(), None)
        return in_process.boto3_session(handler, self._settings.identity.region)

    def reader(self) -> DataReader:
        """The data directory, to look at; it closes with the engine."""
        return DataReader(self._directory, self._environment, shared=True)

    def parked(self) -> EmbeddedParked:
        """What was given up and waits for an operator, to look at, redrive and drop, as `afterwrite parked` does."""
        return EmbeddedParked(self._environment)

    def back_up(self, out: str | Path) -> Backup:
        """Copy the data directory as of one commit to `out`, while everything goes on, as `afterwrite backup` does."""
        return backups.back_up(self._directory.path, Path(out), self._environment)

    def stop(self) -> None:
        """Finish what is being done, write what waits in buffers' files later, and let the directory go."""
        self._running = False
        self._closing.close()

    def _stop_work(self) -> None:
        for loop in self._loops:
            loop.ask_to_stop()
        if self._works is not None:
            self._works.stop()
        deadline_s = time.monotonic() + LOOPS_S_MAX
        for loop in self._loops:
            loop.stop(wait_s=max(0.0, deadline_s - time.monotonic()))
        deadline_s = time.monotonic() + _FINISH_S_MAX
        for mapping in self._mappings:
            mapping.stop(wait_s=max(0.0, deadline_s - time.monotonic()))

    def __enter__(self) -> Self:
        if not self._running:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def open_engine(
    data: str | Path,
    app: App | None = None,
    *,
    listen: str | None = None,
    credentials: Path | None = None,
    durability: Durability = "fsync",
) -> Engine:
    """Start the embedded engine in this process, on the data directory `data`; stop it with `stop` or a `with` block.

    It runs the `app`'s routes where one is given. It listens on a socket only where `listen` (HOST:PORT) says so.
    Raises DataDirectoryInUse, StorageError, DeclarationError, and OSError where the address cannot be had.
    """
    settings = config.load(data=Path(data), listen=listen, credentials=credentials, durability=durability)
    if listen is None:
        settings = replace(settings, port=None)
    engine = Engine(app, settings)
    engine.start()
    return engine


def _new_id() -> str:
    return str(uuid.uuid4())
