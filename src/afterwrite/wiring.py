"""Wiring: an app and settings become a running engine. The only module that names concrete implementations."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvloop

from afterwrite import backups, config
from afterwrite.app import App, Function, Table
from afterwrite.backups import Backup
from afterwrite.config import Durability, Identity, Settings
from afterwrite.engine.delivery import Dispatcher, Invocable
from afterwrite.engine.flushing import Flushing
from afterwrite.engine.loops import Loop, Work
from afterwrite.engine.pipeline import Pipeline
from afterwrite.engine.route_watch import RouteWatch
from afterwrite.engine.telemetry import Telemetry
from afterwrite.engine.upkeep import Upkeep
from afterwrite.errors import AfterwriteError, DeclarationError
from afterwrite.inspection import DataReader
from afterwrite.local.audit_logs import AuditSink
from afterwrite.local.delivery_streams import LakeSink
from afterwrite.local.fan_out import FanOut
from afterwrite.local.native import NativeServices, NativeTable
from afterwrite.local.replays import ReplayWork
from afterwrite.local.steps import EmbeddedSteps
from afterwrite.local.work_queues import FunctionQueue, Trials
from afterwrite.server import in_process
from afterwrite.server.administration import AdministrationService
from afterwrite.server.aws_json import AwsJson, Service
from afterwrite.server.dynamodb import DynamoDBService
from afterwrite.server.dynamodb_streams import DynamoDBStreamsService
from afterwrite.server.eventbridge import EventBridgeService
from afterwrite.server.http import Handler, HttpServer, Request, Respond
from afterwrite.server.kinesis import KinesisService
from afterwrite.sources.embedded import EmbeddedSource
from afterwrite.store import ledger, streams, tables, upkeep
from afterwrite.store.data_directory import DataDirectory, DirectoryLock
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.operations import Operations
from afterwrite.store.streams import StreamSettings
from afterwrite.table.schema import KeySchema

if TYPE_CHECKING:
    from boto3 import Session

# The writer, the event loop and the pipeline take turns on one interpreter. At the default of 5 ms a write waits longer
# for its turn than for the disk; much shorter, the threads that wait cost more than those that run.
_SWITCH_INTERVAL_S = 0.002
_START_TIMEOUT_S = 30.0
# Functions that run when the engine stops may take this long to end; else they run again at the next start.
_FINISH_S_MAX = 10.0
# So may the loops. A route that never returns must not keep the engine from stopping.
_LOOPS_S_MAX = 5.0
_SERVER_STOP_S_MAX = 10.0
T = TypeVar("T")
_NO_APP = "tables"
_RELAXED_SYNC_INTERVAL_S = 1.0


class Engine:
    """The embedded engine: one process, one data directory.

    Without an `app` it serves the directory's tables and runs no routes; where an app's routes ran before, their
    changes are kept until it runs again. `start` returns when requests are answered; `stop` finishes what is being
    done and lets the directory go.
    Raises DataDirectoryInUse, StorageError, DeclarationError, and OSError where the address cannot be had.
    """

    def __init__(self, app: App | None, settings: Settings) -> None:
        self._app = App(_NO_APP) if app is None else app
        self._runs_app = app is not None
        self._settings = settings
        self._directory = DataDirectory(settings.data)
        self._telemetry = Telemetry()
        self._loops: list[Loop] = []
        self._dispatchers: list[Dispatcher] = []
        self._sinks: list[AuditSink] = []
        self._trials = Trials()
        self._server: _ServerThread | None = None
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
                self._server = _ServerThread(self._settings)
                closing.callback(self._server.stop)
                self._address = self._server.bind()
            self._lock = DirectoryLock(self._directory)
            closing.callback(self._lock.release)
            relaxed = self._settings.durability == "relaxed"
            self._environment = Environment(
                self._directory.store, sync_interval_s=_RELAXED_SYNC_INTERVAL_S if relaxed else None
            )
            closing.callback(self._environment.close)
            self._environment.watch_file(self._directory.lock_file)
            self._loops, self._dispatchers, self._sinks, self._trials = [], [], [], Trials()
            closing.callback(self._stop_work)
            self._start()
            if self._server is not None:
                self._environment.drive(self._server.waker(self._environment.commit_waiting))
                self._server.serve(self._handler(self._server.run_soon))
                closing.callback(self._server.stop)
                closing.callback(self._environment.stop_driving)
            self._lock.describe(self._description())
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
        environment.write(lambda transaction: _declare_tables(transaction, self._app))
        if self._runs_app:
            environment.write(lambda transaction: _keep_topology(transaction, self._app))
        with environment.read() as transaction:
            consumed = (ledger.note(transaction, "topology") or {}).get("tables", [])
        # A table that was deleted and made anew would be another stream, and its routes would not run.
        operations = Operations(identity, protected=[*consumed, *(table.name for table in self._app.tables)])
        self.services = NativeServices(environment, operations, self._directory.files)
        consumers = {name: name for name in consumed}
        self._wire_services = self._services(operations)
        works = [*self._works(identity), Upkeep(lambda: upkeep.run(environment, consumers), self._telemetry)]
        self._loops = [Loop(work, self._telemetry) for work in works]
        if self._address is not None:
            operations.listens_at(*self._address)

    def _handler(self, run_soon: Callable[[Callable[[], None]], None]) -> Handler:
        credentials = self._settings.credentials
        return AwsJson(self._environment, self._wire_services, run_soon, credentials=credentials).handle

    def _services(self, operations: Operations) -> list[Service]:
        archives = {bus.name for bus in self._app.buses if bus.archive_days is not None}
        identity = self._settings.identity
        return [
            DynamoDBService(operations),
            DynamoDBStreamsService(identity, self._environment.now_ms),
            KinesisService(identity, self._environment.now_ms),
            EventBridgeService(archives, identity),
            AdministrationService(),
        ]

    def _works(self, identity: Identity) -> list[Work]:
        app, environment = self._app, self._environment
        fan_out = FanOut(app, identity)
        steps = EmbeddedSteps(environment, fan_out, identity)
        pipelines: list[Pipeline] = []
        for table in _routed(app):
            source = EmbeddedSource(environment, environment.state["catalog"][table.name])
            pipelines.append(Pipeline(table.name, source, table.router(), steps, self._telemetry))
        works: list[Work] = [*pipelines, RouteWatch(pipelines, self._telemetry, now_s=time.monotonic)]
        self._dispatchers = [self._dispatcher(function) for function in app.functions]
        works.extend(self._dispatchers)
        works.extend(
            Flushing(f"lake-{stream.name}", LakeSink(environment, stream, self._directory.lake), environment.now_ms)
            for stream in app.delivery_streams
        )
        for log in app.audit_logs:
            sink = AuditSink(environment, log, self._directory.audit / log.name)
            self._sinks.append(sink)
            works.append(Flushing(f"audit-{log.name}", sink, environment.now_ms))
        works.append(ReplayWork(environment, fan_out))
        return works

    def _description(self) -> Mapping[str, Any]:
        """What `afterwrite status` says of this engine."""
        description: dict[str, Any] = {"pid": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        if self._address is not None:
            description["listening"] = f"{self._address[0]}:{self._address[1]}"
        if self._runs_app:
            description["app"] = self._app.name
        return description

    def _dispatcher(self, function: Function) -> Dispatcher:
        return Dispatcher(
            Invocable(function.name, function.handler, function.policy, function.timeout_s, function.concurrency),
            FunctionQueue(self._environment, function, self._trials),
            self.services,
            self._telemetry,
            now_ms=self._environment.now_ms,
            jitter=random.random,
        )

    def table(self, table: Table | str) -> NativeTable:
        """A table, declared by the app or named, to read and write in this process."""
        return self.services.table(table if isinstance(table, str) else table.name)

    def boto3_session(self) -> Session:
        """A boto3 session whose clients and resources are answered by this engine, without a socket.

        Nothing that it sends leaves the process. Raises ImportError without boto3.
        """
        handler = AwsJson(self._environment, self._wire_services, lambda respond_all: respond_all())
        return in_process.boto3_session(handler, self._settings.identity.region)

    def reader(self) -> DataReader:
        """The data directory, to look at; it closes with the engine."""
        return DataReader(self._directory, self._environment, shared=True)

    def back_up(self, out: Path) -> Backup:
        """Copy the data directory as of one commit to `out`, while everything goes on, as `afterwrite backup` does."""
        return backups.back_up(self._directory.path, out, self._environment)

    def stop(self) -> None:
        """Finish what is being done, write what waits in buffers' files later, and let the directory go."""
        self._running = False
        self._closing.close()

    def _stop_work(self) -> None:
        for loop in self._loops:
            loop.ask_to_stop()
        deadline_s = time.monotonic() + _LOOPS_S_MAX
        ended = [loop.stop(wait_s=max(0.0, deadline_s - time.monotonic())) for loop in self._loops]
        deadline_s = time.monotonic() + _FINISH_S_MAX
        for dispatcher in self._dispatchers:
            dispatcher.stop(wait_s=max(0.0, deadline_s - time.monotonic()))
        if all(ended):  # else a file might be closed under the loop that still writes it
            for sink in self._sinks:
                sink.close()

    def __enter__(self) -> Engine:
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


def _refuse(_request: Request, _respond: Respond) -> None:
    raise AfterwriteError("the server does not serve yet")


class _ServerThread:
    """The HTTP server on an event loop in a thread of its own. For one start."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = HttpServer(_refuse, host=settings.host, port=settings.port or 0)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()

    def bind(self) -> tuple[str, int]:
        """Take the address; nobody is answered yet. Raises AfterwriteError where it cannot be had."""
        return self._await(self._server.bind())

    def serve(self, handler: Handler) -> None:
        """Listen, and answer by `handler`. Raises AfterwriteError where the address cannot be had."""
        self._server.handler = handler
        self._await(self._server.start())

    def stop(self) -> None:
        """Answer what has arrived, and end the thread. May be called again."""
        if self._thread.is_alive():
            with suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(_SERVER_STOP_S_MAX)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_SERVER_STOP_S_MAX)

    def run_soon(self, action: Callable[[], None]) -> None:
        """Run `action` on the server's thread, at once where this is it; nothing where that has ended."""
        if threading.get_ident() == self._thread.ident:
            action()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    def waker(self, action: Callable[[], None]) -> Callable[[], None]:
        """What makes `action` run on the server's thread, after the requests that have arrived by then."""
        loop, thread_id = self._loop, self._thread.ident

        def wake() -> None:
            if threading.get_ident() == thread_id:
                loop.call_soon(action)
            else:
                loop.call_soon_threadsafe(action)

        return wake

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_TIMEOUT_S)
        except OSError as error:
            raise AfterwriteError(
                f"cannot listen on {self._settings.host}:{self._settings.port} ({error}): "
                "choose another address with --listen, port 0 for a free one"
            ) from error

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()


def _routed(app: App) -> list[Table]:
    """The tables whose changes lead to something."""
    return [table for table in app.tables if table.routes]


def _declare_tables(transaction: WriteTransaction, app: App) -> None:
    """Create the app's tables that are missing; refuse those that are there with another key."""
    for declared in app.tables:
        sort_key = declared.sort_key
        schema = KeySchema(
            declared.partition_key.name,
            declared.partition_key.type,
            None if sort_key is None else sort_key.name,
            None if sort_key is None else sort_key.type,
        )
        table = tables.catalog(transaction).get(declared.name)
        if table is None:
            table = tables.create_table(transaction, declared.name, schema, view_type=declared.view_type)
        if table.schema != schema or table.stream is None or table.stream.view_type != declared.view_type:
            raise DeclarationError(
                f"the data directory holds a table {declared.name} with {table.schema} and the stream {table.stream}, "
                f"the app declares {schema} and {declared.view_type}: use another data directory, or the same keys"
            )
        if table.ttl_attribute != declared.ttl:
            tables.set_ttl(transaction, declared.name, declared.ttl)
        if table.retention_s != declared.retention_hours * 3600:
            tables.set_retention(transaction, declared.name, declared.retention_hours * 3600)


def _keep_topology(transaction: WriteTransaction, app: App) -> None:
    """Keep what runs here; refuse the directory of another app, whose queues and lanes would wait unseen."""
    kept = ledger.note(transaction, "topology")
    if kept is not None and kept["app"] != app.name:
        raise DeclarationError(
            f"the data directory belongs to the app {kept['app']!r}, this is the app {app.name!r}: "
            "choose another directory with --data"
        )
    ledger.keep_note(transaction, "topology", topology(app))


def topology(app: App) -> Mapping[str, Any]:
    """What runs in the engine, kept in the data directory for those who look at it from outside."""
    consumed = {function.queue_name: function for function in app.functions}
    queues = [queue.name for queue in app.queues]
    return {
        "app": app.name,
        "tables": [table.name for table in _routed(app)],
        "queues": [
            {
                "name": name,
                "function": consumed[name].name if name in consumed else None,
                "dead_letter_queue": f"{name}-dead-letters",
            }
            for name in [*queues, *(name for name in consumed if name not in queues)]
        ],
        "delivery_streams": [stream.name for stream in app.delivery_streams],
        "audit_logs": [log.name for log in app.audit_logs],
        "buses": [{"name": bus.name, "archive_days": bus.archive_days} for bus in app.buses],
    }
