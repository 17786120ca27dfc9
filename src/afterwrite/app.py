"""What a user declares: tables, buses, topics, queues, delivery streams, audit logs, functions and routes.

An `App` runs nothing: the engine runs what it declares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, TypeVar

from afterwrite.core.changes import EVENT_NAMES, NEW_AND_OLD_IMAGES, VIEW_TYPES
from afterwrite.core.conditions import Matchers
from afterwrite.core.effects import Append, Deliver, Enqueue, Invoke, Publish, PutEvent
from afterwrite.core.filter_policy import FilterPolicy
from afterwrite.core.invocations import Context, Message
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.core.patterns import Pattern
from afterwrite.core.patterns import compile as compile_pattern
from afterwrite.core.routes import Guard, Handler, Route, Router
from afterwrite.errors import DeclarationError

KeyType: TypeAlias = Literal["S", "N", "B"]
Scope: TypeAlias = Literal["MessageAttributes", "MessageBody"]

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
_TABLE_NAME_CHARACTERS_MIN: Final = 3
_FUNCTION_QUEUE: Final = "function-"
DEAD_LETTERS: Final = "-dead-letters"
"""What the name of a dead letter queue adds to its queue's."""
# It names files.
_DELIVERY_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_RETENTION_HOURS_MAX: Final = 365 * 24
_COLUMN_TYPES: Final = (str, int, float, bool)


_Declared = TypeVar("_Declared", "Table", "Queue", "Topic", "Bus", "DeliveryStream", "AuditLog", "Function")


@dataclass(frozen=True, slots=True)
class Key:
    """A key attribute that is no string: `Key("id", "N")`."""

    name: str
    type: KeyType = "S"


@dataclass(frozen=True, eq=False)
class Table:
    """A DynamoDB table whose changes run routes."""

    name: str
    partition_key: Key
    sort_key: Key | None
    ttl: str | None
    view_type: str
    retention_hours: int
    routes: list[Route] = field(default_factory=list)

    def on(
        self,
        *event_names: str,
        partition_key: Matchers = None,
        sort_key: Matchers = None,
        changed: str | Sequence[str] = (),
        old: Mapping[str, Matchers] | None = None,
        new: Mapping[str, Matchers] | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated pure function as a route, for the changes that meet every condition given.

        Without event names, for all of them. Conditions are on Python values, by the matchers of event patterns:
        `"META"`, `prefix("TURN#")`, `less_than(10)`, `between(1, 5)` for numbers, a list of alternatives. `changed`
        names attributes of which one must differ.
        """
        for name in event_names:
            if name not in EVENT_NAMES:
                raise DeclarationError(f"expected INSERT, MODIFY or REMOVE for a route on {self.name}, got {name!r}")
        keys: dict[str, Matchers] = {}
        if partition_key is not None:
            keys[self.partition_key.name] = partition_key
        if sort_key is not None:
            if self.sort_key is None:
                raise DeclarationError(f"the table {self.name} has no sort key: leave out sort_key={sort_key!r}")
            keys[self.sort_key.name] = sort_key
        guard = Guard(
            event_names=frozenset(event_names or EVENT_NAMES),
            keys=keys,
            changed=(changed,) if isinstance(changed, str) else tuple(changed),
            old=old or {},
            new=new or {},
        )

        def declare(handler: Handler) -> Handler:
            self.routes.append(Route(handler.__name__, self.name, guard, handler))
            self.router()
            return handler

        return declare

    def router(self) -> Router:
        """The table's routes, compiled. Raises DeclarationError or InvalidPattern where one is wrong."""
        return Router(self.routes)


@dataclass(frozen=True, eq=False)
class Queue:
    """A durable queue; after `max_receives` receives a message moves to the dead letter queue."""

    name: str
    max_receives: int
    visibility_timeout_s: float
    functions: list[Function]

    @property
    def dead_letter_queue(self) -> str:
        """The name of the queue for messages that were received too often."""
        return self.name + DEAD_LETTERS

    def send(self, body: Any, *, delay_s: float | Decimal = 0.0) -> Enqueue:
        """The effect that sends a message to this queue, to be received after `delay_s` seconds, at most 30 days.

        Placing it fails where `delay_s` is out of that range: the change is parked with its lane.
        """
        return Enqueue(self.name, body, delay_s)

    def consumer(
        self, *, concurrency: int = 4, timeout_s: float | None = None
    ) -> Callable[[Callable[[Message, Context], Any]], Function]:
        """Declare the decorated function as the queue's consumer; a message it raises on becomes visible again."""

        def declare(handler: Callable[[Message, Context], Any]) -> Function:
            taken = next((each.name for each in self.functions if each.queue is self), None)
            if taken is not None:
                raise DeclarationError(f"the queue {self.name} has the consumer {taken} already: use another queue")
            function = Function(
                name=handler.__name__,
                handler=handler,
                policy=RetryPolicy(attempts_max=self.max_receives),
                timeout_s=self.visibility_timeout_s if timeout_s is None else timeout_s,
                concurrency=_at_least_one("concurrency", concurrency),
                queue=self,
            )
            _add(self.functions, function)
            return function

        return declare


@dataclass(frozen=True, eq=False)
class Function:
    """User code with side effects, invoked later, with retries, a timeout, and a dead letter queue."""

    name: str
    handler: Callable[[Any, Context], Any]
    policy: RetryPolicy
    timeout_s: float
    concurrency: int
    queue: Queue | None = None

    @property
    def queue_name(self) -> str:
        """The durable queue that feeds it."""
        return self.queue.name if self.queue is not None else _FUNCTION_QUEUE + self.name

    @property
    def dead_letter_queue(self) -> str:
        """Where invocations go, with their payload, that failed for good."""
        return self.queue_name + DEAD_LETTERS

    def later(self, **request: Any) -> Invoke:
        """The effect that invokes this function with `request`."""
        return Invoke(self.name, request)

    def __call__(self, request: Any, context: Context) -> Any:
        """Run the function's code here and now, as tests do."""
        return self.handler(request, context)


@dataclass(frozen=True, eq=False)
class Subscription:
    """A topic's subscription: messages that the filter policy lets through go to the queue."""

    queue: Queue
    filter_policy: FilterPolicy | None


@dataclass(frozen=True, eq=False)
class Topic:
    """A topic that fans messages out to its subscriptions."""

    name: str
    subscriptions: list[Subscription] = field(default_factory=list)

    def publish(
        self, message: Any, *, subject: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> Publish:
        """The effect that publishes a message."""
        return Publish(self.name, message, subject, attributes or {})

    def subscribe(
        self,
        queue: Queue,
        *,
        filter_policy: Mapping[str, Any] | None = None,
        scope: Scope = "MessageAttributes",
    ) -> None:
        """Send messages to `queue`: all, or those that the filter policy matches."""
        if any(each.queue is queue for each in self.subscriptions):
            raise DeclarationError(f"the queue {queue.name} subscribes to {self.name} already: declare it once")
        policy = None if filter_policy is None else FilterPolicy(filter_policy, scope)
        self.subscriptions.append(Subscription(queue, policy))


@dataclass(frozen=True, eq=False)
class Rule:
    """A bus's rule: events that match the pattern go to every target; `source` is the pattern as it was declared."""

    name: str
    pattern: Pattern
    targets: tuple[Queue | Function | DeliveryStream, ...]
    source: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Bus:
    """An event bus with rules and an archive."""

    name: str
    source: str
    archive_days: int | None
    rules: list[Rule] = field(default_factory=list)

    def put(self, detail_type: str, **detail: Any) -> PutEvent:
        """The effect that puts an event on the bus."""
        return PutEvent(self.name, self.source, detail_type, detail)

    def rule(self, name: str, pattern: Mapping[str, Any], *, to: Sequence[Queue | Function | DeliveryStream]) -> Rule:
        """Send the events that match `pattern` to every target of `to`."""
        _check_name("rule", name, [rule.name for rule in self.rules])
        for target in to:
            if not isinstance(target, (Queue, Function, DeliveryStream)):
                raise DeclarationError(
                    f"expected queues, functions or delivery streams as targets of the rule {name}, got {target!r}"
                )
        rule = Rule(name, compile_pattern(pattern), tuple(to), pattern)
        self.rules.append(rule)
        return rule


@dataclass(frozen=True, eq=False)
class DeliveryStream:
    """A delivery stream that buffers records by time and size and writes them to a partitioned lake."""

    name: str
    buffer_seconds: float
    buffer_mib: float
    columns: Mapping[str, type]

    def put(self, **record: Any) -> Deliver:
        """The effect that delivers a record."""
        return Deliver(self.name, record)


@dataclass(frozen=True, eq=False)
class AuditLog:
    """An append-only, hash-chained log."""

    name: str
    retain_days: int | None

    def append(self, **entry: Any) -> Append:
        """The effect that appends an entry."""
        return Append(self.name, entry)


class App:
    """A declaration of what happens after each write. Nothing runs until an engine is made of it."""

    def __init__(self, name: str) -> None:
        _check_name("app", name, ())
        self.name = name
        self.tables: list[Table] = []
        self.queues: list[Queue] = []
        self.topics: list[Topic] = []
        self.buses: list[Bus] = []
        self.delivery_streams: list[DeliveryStream] = []
        self.audit_logs: list[AuditLog] = []
        self.functions: list[Function] = []

    def table(
        self,
        name: str,
        *,
        partition_key: str | Key,
        sort_key: str | Key | None = None,
        ttl: str | None = None,
        view_type: str = NEW_AND_OLD_IMAGES,
        retention_hours: int = 24,
    ) -> Table:
        """Declare a table. Keys given as text are strings; `ttl` names the attribute with the epoch seconds.

        Changes stay readable for `retention_hours` (1 to 8,760).
        """
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
        table = Table(name, _key(partition_key), _key(sort_key), ttl, view_type, retention_hours)
        return _add(self.tables, table)

    def queue(self, name: str, *, max_receives: int = 3, visibility_timeout_s: float = 30.0) -> Queue:
        """Declare a queue with its dead letter queue `NAME-dead-letters` (S33)."""
        if name.startswith(_FUNCTION_QUEUE):
            raise DeclarationError(f"expected a queue's name that is no function's ({_FUNCTION_QUEUE}…), got {name!r}")
        _at_least_one("max_receives", max_receives)
        if not 0 < visibility_timeout_s <= 43_200:
            raise DeclarationError(
                f"expected visibility_timeout_s from 0 to 43200 for {name}, got {visibility_timeout_s}"
            )
        return _add(self.queues, Queue(name, max_receives, visibility_timeout_s, self.functions))

    def topic(self, name: str) -> Topic:
        """Declare a topic."""
        return _add(self.topics, Topic(name))

    def bus(self, name: str, *, source: str | None = None, archive_days: int | None = None) -> Bus:
        """Declare a bus; events carry `source` (the app's name by default), and stay `archive_days` in its archive."""
        return _add(self.buses, Bus(name, source or self.name, archive_days))

    def delivery_stream(
        self,
        name: str,
        *,
        buffer_seconds: float = 300,
        buffer_mib: float = 5,
        columns: Mapping[str, type] | None = None,
    ) -> DeliveryStream:
        """Declare a delivery stream, flushed after `buffer_seconds` (0 to 900) or `buffer_mib` (1 to 128) (S34).

        `columns` gives the records' fields their types (str, int, float or bool): the service on AWS needs them for
        Parquet and writes JSON lines without them. The embedded lake takes the types from the records.
        """
        check_delivery_stream_name(name)
        if not 0 <= buffer_seconds <= 900 or not 1 <= buffer_mib <= 128:
            raise DeclarationError(
                f"expected buffer_seconds from 0 to 900 and buffer_mib from 1 to 128 for {name}, "
                f"got {buffer_seconds} and {buffer_mib}"
            )
        for column, kind in (columns or {}).items():
            if kind not in _COLUMN_TYPES:
                raise DeclarationError(f"expected str, int, float or bool for {name}'s column {column}, got {kind!r}")
        return _add(self.delivery_streams, DeliveryStream(name, buffer_seconds, buffer_mib, dict(columns or {})))

    def audit_log(self, name: str, *, retain_days: int | None = None) -> AuditLog:
        """Declare an audit log; entries are kept for ever, or `retain_days`."""
        return _add(self.audit_logs, AuditLog(name, retain_days))

    def function(
        self, *, retries: int = 2, timeout_s: float = 60.0, concurrency: int = 4, backoff_s: float = 1.0
    ) -> Callable[[Callable[[Any, Context], Any]], Function]:
        """Declare the decorated function; it is invoked by `.later(…)`, or as a rule's target.

        An invocation that raises or takes longer than `timeout_s` is tried again `retries` times, after waits that
        grow from `backoff_s`; then it goes to the dead letter queue `function-NAME-dead-letters`.
        """
        if retries < 0 or timeout_s <= 0 or backoff_s < 0:
            raise DeclarationError(
                "expected retries and backoff_s of at least 0 and timeout_s above 0, "
                f"got {retries}, {backoff_s} and {timeout_s}"
            )

        def declare(handler: Callable[[Any, Context], Any]) -> Function:
            function = Function(
                name=handler.__name__,
                handler=handler,
                policy=RetryPolicy(attempts_max=retries + 1, backoff_ms_first=int(backoff_s * 1000)),
                timeout_s=timeout_s,
                concurrency=_at_least_one("concurrency", concurrency),
            )
            return _add(self.functions, function)

        return declare


def _key(key: Any) -> Any:
    return Key(key) if isinstance(key, str) else key


def _at_least_one(what: str, value: int) -> int:
    if value < 1:
        raise DeclarationError(f"expected {what} of at least 1, got {value}")
    return value


def _add(declared: list[_Declared], new: _Declared) -> _Declared:
    _check_name(type(new).__name__.lower(), new.name, [each.name for each in declared])
    declared.append(new)
    return new


def _check_name(kind: str, name: str, taken: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"expected the {kind}'s name to be 1 to 255 letters, digits, '-', '_' or '.', no '.' first, got {name!r}"
        )
    if name in taken:
        raise DeclarationError(f"two declarations of the {kind} {name!r}: declare it once and use the value")


def check_delivery_stream_name(name: str) -> None:
    """Raise DeclarationError for a name that no delivery stream, and so no file of the lake, may have."""
    if not _DELIVERY_STREAM_NAME.fullmatch(name):
        raise DeclarationError(
            "expected the delivery stream's name to be 1 to 64 letters, digits, '-', '_' or '.', no '.' first, "
            f"got {name!r}"
        )
