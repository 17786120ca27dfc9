"""What a user declares: tables, buses, topics, queues, delivery streams, audit logs, functions and routes.

An `App` runs nothing: the engine runs what it declares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from afterwrite.app.checks import (
    Exhausted,
    at_least_one,
    attribute_names,
    check_delivery_stream_name,
    check_name,
    check_target,
    declaration,
    exhaustion,
    kind_of,
    retry_policy,
    senders,
)
from afterwrite.app.declarations import (
    DEAD_LETTERS,
    FUNCTION_QUEUE,
    KINESIS_RETENTION_HOURS_MIN,
    KINESIS_STREAM,
    AuditLog,
    Bus,
    DeliveryStream,
    Function,
    Queue,
    Rule,
    StreamKind,
    Table,
    Topic,
    add_declared,
    check_stream,
    lanes_of,
    refuse_forgettable_on_aws,
)
from afterwrite.app.keys import GlobalIndex, Key, check_indexes, check_keys, check_ttl, key, key_types
from afterwrite.app.views import Cache, SearchIndex
from afterwrite.core.callables import check_code
from afterwrite.core.changes import NEW_AND_OLD_IMAGES, VIEW_TYPES
from afterwrite.core.effects import RESERVED_SOURCE
from afterwrite.core.event_source_mapping.declaration import KinesisStream
from afterwrite.core.invocations import Context
from afterwrite.core.lag import Thresholds
from afterwrite.core.lanes import ORDERS, Order
from afterwrite.core.names import ShownByName
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.core.privacy import compile_paths
from afterwrite.core.sending import Sender
from afterwrite.errors import DeclarationError

if TYPE_CHECKING:
    from afterwrite.core.models import Model, ModelHandler

__all__ = [
    "DEAD_LETTERS",
    "KINESIS_STREAM",
    "App",
    "AuditLog",
    "Bus",
    "Cache",
    "DeliveryStream",
    "Function",
    "GlobalIndex",
    "Key",
    "Queue",
    "Rule",
    "SearchIndex",
    "StreamKind",
    "Table",
    "Topic",
    "change_stream_hours",
    "check_delivery_stream_name",
    "key_types",
    "lanes_of",
    "refuse_foreign_targets",
    "refuse_forgettable_on_aws",
]

_TABLE_NAME_CHARACTERS_MIN: Final = 3
_RETENTION_HOURS_MAX: Final = 365 * 24
_CACHE_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_COLUMN_TYPES: Final = (str, int, float, bool)


class App(ShownByName):
    """A declaration of what happens after each write. Nothing runs until an engine is made of it."""

    @declaration
    def __init__(self, name: str) -> None:
        check_name("app", name, ())
        self.name = name
        self.tables: list[Table] = []
        self.queues: list[Queue] = []
        self.topics: list[Topic] = []
        self.buses: list[Bus] = []
        self.delivery_streams: list[DeliveryStream] = []
        self.audit_logs: list[AuditLog] = []
        self.caches: list[Cache] = []
        self.search_indexes: list[SearchIndex] = []
        self.kinesis_streams: list[KinesisStream] = []
        self.models: list[Model] = []
        self.functions: list[Function] = []
        self.alarm_thresholds = Thresholds()
        self.alarm_topic: Topic | None = None

    @property
    def engine_functions(self) -> list[Function]:
        """What the embedded engine runs: the app's functions, and one for each cache and search index."""
        views = [cache.function for cache in self.caches] + [index.function for index in self.search_indexes]
        return [*self.functions, *views]

    @declaration
    def alarms(
        self,
        *,
        to: Topic | None = None,
        iterator_age_s: float = 60,
        retention_fraction: float = 0.5,
        queue_age_s: float = 900,
        free_disk_mib: int = 256,
    ) -> None:
        """Declare when lag, or a full disk, is an alarm, and the topic that alarms are published to.

        A table's routes have changes that wait longer than `iterator_age_s`, or than `retention_fraction` of the
        retention; a function's queue has messages that wait longer than `queue_age_s`; a lane is parked, or a mapped
        function was not able to handle records; less than `free_disk_mib` is left on the data directory's disk. Without
        this declaration the same defaults hold, and alarms are in the log and in `afterwrite status`.
        """
        if iterator_age_s <= 0 or queue_age_s <= 0 or not 0 < retention_fraction <= 1:
            raise DeclarationError(
                "expected iterator_age_s and queue_age_s above 0 and retention_fraction above 0 and at most 1, "
                f"got {iterator_age_s}, {queue_age_s} and {retention_fraction}"
            )
        if free_disk_mib < 0:
            raise DeclarationError(f"expected free_disk_mib of 0 or more, got {free_disk_mib}")
        if to is not None:
            check_target("to publish alarms to", to, (Topic,))
        self.alarm_thresholds = Thresholds(
            int(iterator_age_s * 1000), retention_fraction, int(queue_age_s * 1000), free_disk_mib << 20
        )
        self.alarm_topic = to

    @declaration
    def table(
        self,
        name: str,
        *,
        partition_key: str | Key,
        sort_key: str | Key | None = None,
        ttl: str | None = None,
        view_type: str = NEW_AND_OLD_IMAGES,
        retention_hours: int = 24,
        order: Order = "partition_key",
        stream: StreamKind = "dynamodb",
        private: Sequence[str] = (),
        indexes: Sequence[GlobalIndex] = (),
    ) -> Table:
        """Declare a table. Keys given as text are strings; `ttl` names the attribute with the epoch seconds.

        Changes stay readable for `retention_hours` (1 to 8,760). Their effects stay in order for each partition key,
        with `order="item"` for each item, with `"none"` not at all: what fails holds up that much. They come by
        DynamoDB Streams, with `stream="kinesis"` by the Kinesis data stream `NAME-changes`, which carries both images.

        Routes see `***` in place of the `private` attributes (`"email"`, `"profile.phone"`), and their values in
        `change.clear` only. `indexes` are the global secondary ones that are made where they are missing.
        """
        check_stream(name, stream, view_type)
        if order not in ORDERS:
            raise DeclarationError(f"expected order to be one of {', '.join(ORDERS)} for {name}, got {order!r}")
        if view_type not in VIEW_TYPES:
            raise DeclarationError(f"expected a view type of {', '.join(VIEW_TYPES)} for {name}, got {view_type!r}")
        if not 1 <= retention_hours <= _RETENTION_HOURS_MAX:
            raise DeclarationError(
                f"expected retention_hours from 1 to {_RETENTION_HOURS_MAX} for {name}, got {retention_hours}"
            )
        if len(name) < _TABLE_NAME_CHARACTERS_MIN:
            raise DeclarationError(
                f"expected a table's name of at least {_TABLE_NAME_CHARACTERS_MIN} characters: {name!r}"
            )
        partition, sort = key(partition_key), key(sort_key)
        check_keys(name, partition, sort)
        check_ttl(name, (partition, sort), ttl)
        paths = compile_paths(name, private, [each.name for each in (partition, sort) if each is not None])
        table = Table(
            name,
            partition,
            sort,
            ttl,
            view_type,
            retention_hours,
            order,
            stream,
            paths,
            check_indexes(name, (partition, sort), indexes),
            functions=self.functions,
        )
        return add_declared(self.tables, table)

    @declaration
    def queue(self, name: str, *, max_receives: int = 3, visibility_timeout_s: float = 30.0) -> Queue:
        """Declare a queue with its dead letter queue `NAME-dead-letters` (S33)."""
        if name.startswith(FUNCTION_QUEUE):
            raise DeclarationError(f"expected a queue's name that is no function's ({FUNCTION_QUEUE}…), got {name!r}")
        at_least_one("max_receives", max_receives)
        if not 0 < visibility_timeout_s <= 43_200:
            raise DeclarationError(
                f"expected visibility_timeout_s above 0 and at most 43200 for {name}, got {visibility_timeout_s}"
            )
        return add_declared(self.queues, Queue(name, max_receives, visibility_timeout_s, self.functions))

    @declaration
    def topic(self, name: str) -> Topic:
        """Declare a topic."""
        return add_declared(self.topics, Topic(name))

    @declaration
    def bus(self, name: str, *, source: str | None = None, archive_days: int | None = None) -> Bus:
        """Declare a bus; events carry `source` (the app's name by default), and stay `archive_days` in its archive."""
        if archive_days is not None:
            at_least_one("archive_days", archive_days)
        source = source or self.name
        if source.startswith(RESERVED_SOURCE):
            raise DeclarationError(f"expected a source that is no service's ({RESERVED_SOURCE}…), got {source!r}")
        return add_declared(self.buses, Bus(name, source, archive_days))

    @declaration
    def delivery_stream(
        self,
        name: str,
        *,
        buffer_seconds: float = 300,
        buffer_mib: float = 5,
        columns: Mapping[str, type] | None = None,
        key: str | Sequence[str] = (),
    ) -> DeliveryStream:
        """Declare a delivery stream, flushed after `buffer_seconds` (0 to 900) or `buffer_mib` (1 to 128) (S34).

        `key` names the field or fields that say what a record is about: queries then have the last record of each.
        `columns` gives the records' fields their types (str, int, float or bool): the service on AWS needs them for
        Parquet and writes JSON lines without them. The embedded lake takes the types from the records.
        """
        check_delivery_stream_name(name)
        if not 0 <= buffer_seconds <= 900 or not 1 <= buffer_mib <= 128:
            raise DeclarationError(
                f"expected buffer_seconds from 0 to 900 and buffer_mib from 1 to 128 for {name}, "
                f"got {buffer_seconds} and {buffer_mib}"
            )
        if columns is not None and not isinstance(columns, Mapping):
            raise DeclarationError(
                f"expected columns of {name} to map names to types, such as {{'page': str}}, got {columns!r}"
            )
        for column, kind in (columns or {}).items():
            if kind not in _COLUMN_TYPES:
                raise DeclarationError(f"expected str, int, float or bool for {name}'s column {column}, got {kind!r}")
        fields = attribute_names("key", key)
        stream = DeliveryStream(name, buffer_seconds, buffer_mib, dict(columns or {}), fields)
        return add_declared(self.delivery_streams, stream)

    @declaration
    def kinesis_stream(self, name: str, *, shard_count: int = 1, retention_hours: int = 24) -> KinesisStream:
        """Declare a Kinesis data stream; it is created with `shard_count` shards where it is missing.

        Records stay for `retention_hours` (24 to 8,760).
        """
        if not KINESIS_RETENTION_HOURS_MIN <= retention_hours <= _RETENTION_HOURS_MAX:
            raise DeclarationError(
                f"expected retention_hours from {KINESIS_RETENTION_HOURS_MIN} to {_RETENTION_HOURS_MAX} for {name}, "
                f"got {retention_hours}"
            )
        count = at_least_one("shard_count", shard_count)
        return add_declared(self.kinesis_streams, KinesisStream(name, count, retention_hours))

    @declaration
    def model(self, model_id: str) -> Callable[[ModelHandler], ModelHandler]:
        """Declare the decorated function, from a `ModelRequest` to text, as the model that Bedrock's clients reach."""
        from afterwrite.core.models import Model

        def declare(handler: ModelHandler) -> ModelHandler:
            check_code("model", handler, ["request"])
            if any(model.model_id == model_id for model in self.models):
                raise DeclarationError(f"two declarations of the model {model_id!r}: declare it once")
            self.models.append(Model(model_id, handler))
            return handler

        return declare

    @declaration
    def audit_log(self, name: str, *, retain_days: int | None = None, forgettable: bool = False) -> AuditLog:
        """Declare an audit log; entries are kept for ever, or `retain_days`.

        The content of a `forgettable` one is encrypted with a key for each partition key, which `afterwrite forget`
        destroys.
        """
        if retain_days is not None:
            at_least_one("retain_days", retain_days)
        return add_declared(self.audit_logs, AuditLog(name, retain_days, forgettable))

    @declaration
    def cache(self, name: str, *, url: str) -> Cache:
        """Declare a cache in Redis; `url` is `redis://`, `rediss://` or `unix://`, with `?cluster=true` for a cluster.

        On AWS the function's settings say where it is.
        """
        if not url.startswith(_CACHE_SCHEMES):
            raise DeclarationError(f"expected a url of {', '.join(_CACHE_SCHEMES)} for the cache {name}, got {url!r}")
        return add_declared(self.caches, Cache(name, url))

    @declaration
    def search_index(self, name: str, *, fields: Sequence[str] = (), url: str | None = None) -> SearchIndex:
        """Declare a search index: OpenSearch's at `url`, or without one an index in the data directory.

        `fields` of its documents are searched, all of them where none is given.
        """
        if isinstance(fields, str):
            raise DeclarationError(f"expected fields=({fields!r},) for {name}, a sequence of names, got one text")
        return add_declared(self.search_indexes, SearchIndex(name, tuple(fields), url))

    @declaration
    def function(
        self,
        *,
        retries: int = 2,
        timeout_s: float = 60.0,
        concurrency: int = 4,
        backoff_s: float = 1.0,
        age_max_s: float | None = None,
        exhausted: Exhausted = "dead_letter",
        sends: Sequence[Sender] = (),
    ) -> Callable[[Callable[[Any, Context], Any]], Function]:
        """Declare the decorated function; it is invoked by `.later(…)`, or as a rule's target.

        An invocation that raises or takes longer than `timeout_s` is tried again `retries` times, and not once it is
        older than `age_max_s`, after waits that grow from `backoff_s`; then it goes to the dead letter queue
        `function-NAME-dead-letters`, or with `exhausted="park"` stays, and its lane waits behind it. `sends` names the
        targets that it sends to.
        """
        policy = retry_policy(retries, timeout_s, backoff_s, age_max_s)

        def declare(handler: Callable[[Any, Context], Any]) -> Function:
            check_code("function", handler, ["request", "context"])
            return self._function(handler.__name__, handler, policy, timeout_s, concurrency, exhausted, senders(sends))

        return declare

    @declaration
    def target(
        self,
        name: str,
        sender: Sender,
        *,
        retries: int = 2,
        timeout_s: float = 60.0,
        concurrency: int = 4,
        backoff_s: float = 1.0,
        age_max_s: float | None = None,
        exhausted: Exhausted = "dead_letter",
    ) -> Function:
        """Declare a target (`Webhook`, `Email`, `Sms`) as a function whose whole work is to send.

        What `.later(…)` or a rule gives it is sent, in order per lane, with a function's retries.
        """
        check_code("target", sender, ["request", "context"])
        policy = retry_policy(retries, timeout_s, backoff_s, age_max_s)
        return self._function(name, sender, policy, timeout_s, concurrency, exhausted, (sender,))

    def _function(
        self,
        name: str,
        handler: Callable[[Any, Context], Any],
        policy: RetryPolicy,
        timeout_s: float,
        concurrency: int,
        exhausted: Exhausted,
        sends: tuple[Sender, ...],
    ) -> Function:
        function = Function(
            name=name,
            handler=handler,
            policy=policy,
            timeout_s=timeout_s,
            concurrency=at_least_one("concurrency", concurrency),
            exhausted=exhaustion(exhausted),
            sends=sends,
        )
        return add_declared(self.functions, function)


def refuse_foreign_targets(app: App) -> None:
    """Raise DeclarationError where a rule, a subscription or the alarms lead to what another `App` declares.

    Nobody would look after it: what is sent there would wait unseen.
    """
    declared: list[Queue | Topic | DeliveryStream | Function]
    declared = [*app.queues, *app.topics, *app.delivery_streams, *app.functions]
    own = {(type(each), each.name) for each in declared}
    leads: list[tuple[str, Queue | Topic | DeliveryStream | Function]]
    leads = [(f"the rule {rule.name}", target) for bus in app.buses for rule in bus.rules for target in rule.targets]
    leads += [(f"the topic {topic.name}", each.queue) for topic in app.topics for each in topic.subscriptions]
    if app.alarm_topic is not None:
        leads.append(("the alarms", app.alarm_topic))
    for what, target in leads:
        if (type(target), target.name) not in own:
            raise DeclarationError(
                f"expected {what} to lead to what the app {app.name} declares, got the {kind_of(type(target))} "
                f"{target.name} of another App: declare it on the same App"
            )


def change_stream_hours(app: App, table: Table) -> int:
    """How long the Kinesis stream that the table's changes come by keeps them: as long as any declaration says."""
    named = [stream.retention_hours for stream in app.kinesis_streams if stream.name == table.kinesis_stream]
    return max([KINESIS_RETENTION_HOURS_MIN, table.retention_hours, *named])
