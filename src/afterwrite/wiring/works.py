"""What follows from writes: an app's routes, functions and files, as loops over a store.

They run in the engine's process or in others, all in one or in two parts.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Set
from contextlib import ExitStack
from enum import Enum
from typing import Final

from afterwrite.app import App, Function, lanes_of
from afterwrite.config import Settings
from afterwrite.core.pipes import Origin
from afterwrite.core.ports import Sink
from afterwrite.engine.delivery import Dispatcher, Invocable
from afterwrite.engine.flushing import Flushing
from afterwrite.engine.loops import Loop, Work
from afterwrite.engine.pipeline import Pipeline
from afterwrite.engine.route_watch import RouteWatch
from afterwrite.engine.telemetry import Telemetry
from afterwrite.errors import StorageError
from afterwrite.local.audit.digests import AuditDigests
from afterwrite.local.audit.keys import signing_key, trusted_keys
from afterwrite.local.audit.logs import AuditSink, digest_of
from afterwrite.local.audit.sealing import EntrySealer, key_to_wrap_with
from afterwrite.local.delivery_streams import LakeSink
from afterwrite.local.fan_out import FanOut, piped
from afterwrite.local.native import NativeServices
from afterwrite.local.steps import EmbeddedSteps
from afterwrite.local.work_queues import FunctionQueue, Trials
from afterwrite.sources.embedded import EmbeddedSource
from afterwrite.store.data_directory import DataDirectory
from afterwrite.store.environment import Environment
from afterwrite.wiring.anchoring import anchor_store
from afterwrite.wiring.declared import routed
from afterwrite.wiring.seams import Seams
from afterwrite.wiring.views import engine_functions

_LOG = logging.getLogger("afterwrite")
# Functions that run when the engine stops may take this long to end; else they run again at the next start.
_FINISH_S_MAX: Final = 10.0
# So may the loops. A route that never returns must not keep the engine from stopping.
LOOPS_S_MAX: Final = 5.0


class Part(Enum):
    """A part of an app that can run in a process of its own: routes and functions, or what writes files."""

    FLOWS = "flows"
    FILES = "files"


class Works:
    """An app's routes, functions and files, or the `parts` of them that are to run here.

    Takes what an earlier process left; `start` sets the loops going. Each loop watches its signals from the beginning.
    """

    def __init__(
        self,
        app: App,
        settings: Settings,
        environment: Environment,
        services: NativeServices,
        seams: Seams,
        parts: Set[Part] = frozenset(Part),
    ) -> None:
        self._app = app
        self._settings = settings
        self._environment = environment
        self._directory = DataDirectory(settings.data)
        self._services = services
        self._seams = seams
        self._telemetry = Telemetry()
        self._fan_out = FanOut(app, settings.identity)
        self._trials = Trials()
        self._dispatchers: list[Dispatcher] = []
        self._logs: list[AuditSink] = []
        with ExitStack() as closing:
            works: list[Work] = []
            if Part.FLOWS in parts:
                works += self._flows(closing)
            if Part.FILES in parts:
                works += self._flushings()
            self._loops = [Loop(work, self._telemetry) for work in works]
            self._closing = closing.pop_all()

    def start(self) -> None:
        """Set the loops going."""
        for loop in self._loops:
            loop.start()

    def stop(self) -> None:
        """Finish what is being done, within bounds of time, and let go of files and connections."""
        for loop in self._loops:
            loop.ask_to_stop()
        deadline_s = time.monotonic() + LOOPS_S_MAX
        ended = [loop.stop(wait_s=max(0.0, deadline_s - time.monotonic())) for loop in self._loops]
        deadline_s = time.monotonic() + _FINISH_S_MAX
        for dispatcher in self._dispatchers:
            dispatcher.stop(wait_s=max(0.0, deadline_s - time.monotonic()))
        if all(ended):  # else a file might be closed under the loop that still writes it
            for log in self._logs:
                try:
                    log.close()
                except (StorageError, OSError) as error:  # the others are closed all the same
                    _LOG.error("an audit log is not signed up to its end: the next engine does it (%s)", error)
        self._closing.close()

    def _flows(self, closing: ExitStack) -> list[Work]:
        environment, search = self._environment, self._directory.search
        functions, watches = engine_functions(self._app, search, environment.now_ms, self._services, closing)
        pipelines = self._pipelines()
        self._dispatchers = [self._dispatcher(function) for function in functions]
        route_watch = RouteWatch(pipelines, self._telemetry, now_s=time.monotonic)
        return [*pipelines, route_watch, *watches, *self._dispatchers]

    def _pipelines(self) -> list[Pipeline]:
        environment, identity = self._environment, self._settings.identity
        steps = EmbeddedSteps(environment, self._fan_out, identity)
        pipelines: list[Pipeline] = []
        for table in routed(self._app):
            stored = environment.state["catalog"][table.name]
            arn = f"arn:aws:dynamodb:{identity.region}:{identity.account_id}:table/{table.name}/stream/"
            router = table.router(Origin(identity.region, arn + stored.stream.label))
            source, taken = EmbeddedSource(environment, stored, lanes_of(table)), self._seams.steps(steps, table.name)
            pipelines.append(Pipeline(table.name, source, router, taken, self._telemetry))
        return pipelines

    def _dispatcher(self, function: Function) -> Dispatcher:
        policy, concurrency = function.policy, function.concurrency
        leads_to = None if function.pipe is None else piped(function.pipe, self._fan_out)
        return Dispatcher(
            self._seams.invocable(
                Invocable(function.name, function.handler, policy, function.timeout_s, concurrency, leads_to)
            ),
            self._seams.work_queue(FunctionQueue(self._environment, function, self._trials), function.name),
            self._services,
            self._telemetry,
            now_ms=self._environment.now_ms,
            jitter=random.random,
        )

    def _flushings(self) -> list[Flushing]:
        environment, directory = self._environment, self._directory
        flushings = [
            self._flushing(f"lake-{stream.name}", LakeSink(environment, stream, directory.lake))
            for stream in self._app.delivery_streams
        ]
        for log in self._app.audit_logs:
            sealer = self._sealer(log.name) if log.forgettable else None
            sink = AuditSink(environment, log, directory.audit / log.name, self._digests(log.name), sealer)
            self._logs.append(sink)
            flushings.append(self._flushing(f"audit-{log.name}", sink))
        return flushings

    def _flushing(self, name: str, sink: Sink) -> Flushing:
        return Flushing(name, self._seams.sink(sink, name), self._environment.now_ms)

    def _sealer(self, log: str) -> EntrySealer:
        with self._environment.read() as transaction:
            return EntrySealer(log, key_to_wrap_with(transaction, self._directory.keys))

    def _digests(self, log: str) -> AuditDigests:
        place = self._settings.audit_anchor
        key = signing_key(self._directory.keys, self._settings.audit_key)
        with self._environment.read() as transaction:
            kept = digest_of(transaction, log)
        anchor = None if place is None else anchor_store(place)
        trusted = trusted_keys(self._directory.keys)
        return AuditDigests(self._directory.audit / log, log, key, anchor, kept=kept, trusted=trusted)
