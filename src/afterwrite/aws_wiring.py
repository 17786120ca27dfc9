"""Wiring on AWS: an app and a Lambda function's environment become targets, ledger, parked lanes and services."""

from __future__ import annotations

import functools
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from afterwrite.app import App, refuse_forgettable_on_aws
from afterwrite.config import AwsSettings
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import Append, Deliver, Enqueue, Index, Invoke, Publish, PutEvent, Show, StampedEffect
from afterwrite.core.ports import Ledger, ParkedLanes
from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import DeclarationError
from afterwrite.remote.tables import RemoteServices
from afterwrite.targets.remote_target import RemoteTarget

_CONNECT_TIMEOUT_S: Final = 3
_READ_TIMEOUT_S: Final = 10
CONNECTIONS: Final = 16
"""How many requests are made side by side."""


class Clients:
    """boto3 clients, made when they are first used: that takes a part of a second each. For any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    def maker(self, service: str) -> Callable[[], Any]:
        """What gives the client of a service."""
        return functools.partial(self._client, service)

    def _client(self, service: str) -> Any:
        client = self._clients.get(service)
        if client is None:
            with self._lock:  # the session is not made for threads
                if service not in self._clients:
                    self._clients[service] = _session().client(service, config=self._config)
                client = self._clients[service]
        return client

    @functools.cached_property
    def _config(self) -> Any:
        from botocore.config import Config

        return Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            retries={"mode": "standard", "total_max_attempts": 3},
        )


@functools.cache
def _session() -> Any:
    """One for the process: it keeps the services' models, which take long to read."""
    import boto3

    return boto3.Session()


class RemoteTargets:
    """The Targets of an app, where its settings say its resources are."""

    def __init__(self, app: App, settings: AwsSettings, clients: Clients) -> None:
        self._app = app
        self._resources = settings.resources
        self._clients = clients
        self._targets: dict[str, RemoteTarget] = {}
        self._declared: Mapping[str, set[str]] = {
            "topic": {topic.name for topic in app.topics},
            "bus": {bus.name for bus in app.buses},
            "queue": {queue.name for queue in app.queues},
            "delivery_stream": {stream.name for stream in app.delivery_streams},
            "audit_log": {log.name for log in app.audit_logs},
            "search_index": {index.name for index in app.search_indexes},
            "cache": {cache.name for cache in app.caches},
            "function": {function.name for function in app.functions},
        }

    @property
    def in_order(self) -> frozenset[str]:
        """The targets, of those that effects were placed on, that keep the order of what they get."""
        return frozenset(name for name, target in self._targets.items() if target.keeps_order)

    def place(self, effect: StampedEffect) -> tuple[str, Entry]:
        """The target of an effect, and what it is sent. Raises DeclarationError, InvalidValue and TypeError."""
        kind, name = _address(effect)
        key = f"{kind}/{name}"
        target = self._targets.get(key)
        if target is None:
            target = self._targets[key] = self._target(kind, name)
        return key, target.entry(effect)

    def limits(self, target: str) -> Limits:
        """What one request to a target may hold."""
        return self._targets[target].limits

    def send(self, target: str, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Make one request; why each entry failed, None for one that was performed."""
        return self._targets[target].send(entries)

    def _target(self, kind: str, name: str) -> RemoteTarget:
        if name not in self._declared[kind]:
            raise DeclarationError(
                f"expected a {kind.replace('_', ' ')} that this app declares, got {name!r}: declare it on the same App"
            )
        key = f"{kind}/{name}"
        where = self._resources.get(key) or self._embedded(kind, name)
        if where is None:
            raise DeclarationError(f"expected AFTERWRITE_RESOURCES to say where {key} is: add it, as synth does")
        return _MAKERS[kind](self._app, key, where, self._clients)

    def _embedded(self, kind: str, name: str) -> str | None:
        """What stands for an index that is declared for the embedded engine's data directory alone."""
        indexes = self._app.search_indexes if kind == "search_index" else ()
        return _NOWHERE if any(index.name == name and index.url is None for index in indexes) else None


def _address(stamped: StampedEffect) -> tuple[str, str]:
    effect: Any = stamped.effect
    kind, attribute = _ADDRESSES[type(effect)]
    return kind, getattr(effect, attribute)


_ADDRESSES: Final[Mapping[type, tuple[str, str]]] = {
    Publish: ("topic", "topic"),
    PutEvent: ("bus", "bus"),
    Enqueue: ("queue", "queue"),
    Deliver: ("delivery_stream", "stream"),
    Append: ("audit_log", "log"),
    Invoke: ("function", "function"),
    Show: ("cache", "cache"),
    Index: ("search_index", "index"),
}


def _topic(_app: App, key: str, where: str, clients: Clients) -> RemoteTarget:
    from afterwrite.targets.sns import SnsTopic

    return SnsTopic(key, clients.maker("sns"), where)


def _bus(_app: App, key: str, where: str, clients: Clients) -> RemoteTarget:
    from afterwrite.targets.eventbridge import EventBus

    return EventBus(key, clients.maker("events"), where)


def _queue(_app: App, key: str, where: str, clients: Clients) -> RemoteTarget:
    from afterwrite.targets.sqs import SqsQueue

    return SqsQueue(key, clients.maker("sqs"), where)


def _delivery_stream(_app: App, key: str, where: str, clients: Clients) -> RemoteTarget:
    """A delivery stream by its name, or a Kinesis stream by its ARN."""
    if where.startswith("arn:") and ":kinesis:" in where:
        from afterwrite.targets.kinesis import KinesisStream

        return KinesisStream(key, clients.maker("kinesis"), where)
    from afterwrite.targets.firehose import FirehoseStream

    return FirehoseStream(key, clients.maker("firehose"), where)


def _audit_log(app: App, key: str, where: str, clients: Clients) -> RemoteTarget:
    from afterwrite.targets.s3 import S3AuditLog

    log = next(each for each in app.audit_logs if key == f"audit_log/{each.name}")
    refuse_forgettable_on_aws(log)
    return S3AuditLog(key, clients.maker("s3"), where, log=log.name, retain_days=log.retain_days)


def _function(_app: App, key: str, where: str, clients: Clients) -> RemoteTarget:
    """A function by its name or ARN, or the queue that feeds it by its URL."""
    from afterwrite.targets.lambda_function import FunctionQueue, LambdaFunction

    if where.startswith(("https://", "http://")):
        return FunctionQueue(key, clients.maker("sqs"), where)
    return LambdaFunction(key, clients.maker("lambda"), where)


def _cache(_app: App, key: str, where: str, _clients: Clients) -> RemoteTarget:
    """A cache by its URL."""
    from afterwrite.targets.redis import RedisCache

    return RedisCache(key, where, now_ms=now_ms)


_NOWHERE: Final = "nowhere"


def _search_index(app: App, key: str, where: str, _clients: Clients) -> RemoteTarget:
    """A search index by OpenSearch's URL; nothing is done for one that the embedded engine alone has."""
    if where == _NOWHERE:
        from afterwrite.targets.nowhere import Nowhere

        return Nowhere(key)
    from afterwrite.targets.opensearch import OpenSearchIndex

    index = next(each for each in app.search_indexes if key == f"search_index/{each.name}")
    return OpenSearchIndex(key, where, index.name, now_ms=now_ms, fields=index.fields)


_MAKERS: Final[Mapping[str, Callable[[App, str, str, Clients], RemoteTarget]]] = {
    "topic": _topic,
    "bus": _bus,
    "queue": _queue,
    "delivery_stream": _delivery_stream,
    "audit_log": _audit_log,
    "function": _function,
    "cache": _cache,
    "search_index": _search_index,
}


class Aws:
    """What one Lambda function uses, each part made when it is first used."""

    def __init__(self, app: App, settings: AwsSettings) -> None:
        self._app = app
        self._settings = settings
        self._clients = Clients()
        prefix = "table/"
        self._table_names = {
            key.removeprefix(prefix): where for key, where in settings.resources.items() if key.startswith(prefix)
        }
        self._declared_names = {where: name for name, where in self._table_names.items()}

    @functools.cached_property
    def targets(self) -> RemoteTargets:
        """Where effects go."""
        return RemoteTargets(self._app, self._settings, self._clients)

    @functools.cached_property
    def ledger(self) -> Ledger | None:
        """The ledger, None where none is set: a `redis://` or `rediss://` URL, or a DynamoDB table's name."""
        where = self._settings.resources.get("ledger")
        if where is None:
            return None
        if where.startswith(("redis://", "rediss://", "unix://")):
            from afterwrite.remote.redis_ledger import RedisLedger

            return RedisLedger.from_url(where, now_ms=now_ms)
        from afterwrite.remote.dynamodb_ledger import DynamoDBLedger

        return DynamoDBLedger(self._clients.maker("dynamodb"), where, now_ms=now_ms)

    @functools.cached_property
    def parked_lanes(self) -> ParkedLanes | None:
        """The parked lanes, None where no table is set for them."""
        where = self._settings.resources.get("parked")
        if where is None:
            return None
        from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes

        return DynamoDBParkedLanes(self._clients.maker("dynamodb"), where, now_ms=now_ms)

    @functools.cached_property
    def services(self) -> RemoteServices:
        """What functions may use."""
        files = Path(tempfile.gettempdir()) / "afterwrite"
        return RemoteServices(self._clients.maker("dynamodb"), self._app.tables, self._table_names, files)

    def declared_table(self, name: str) -> str:
        """The declared name of a table by its name on AWS; the name itself where the settings do not know it."""
        return self._declared_names.get(name, name)


def now_ms() -> int:
    """The time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000
