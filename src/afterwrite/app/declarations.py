"""What an app consists of: tables, buses, topics, queues, delivery streams, audit logs, functions and their routes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias, TypeVar, get_args

from afterwrite.app.checks import (
    Exhausted,
    age_ms_max,
    at_least_one,
    attribute_names,
    check_name,
    check_target,
    conditions,
    declaration,
    exhaustion,
    kind_of,
    senders,
)
from afterwrite.app.keys import GlobalIndex, Key
from afterwrite.core.callables import check_code
from afterwrite.core.changes import EVENT_NAMES, NEW_AND_OLD_IMAGES, Change, audit_entry
from afterwrite.core.conditions import Matchers
from afterwrite.core.effects import Append, Deliver, Enqueue, Invoke, Publish, PutEvent
from afterwrite.core.event_source_mapping.declaration import EventSourceMapping, MappedStream
from afterwrite.core.filter_policy import FilterPolicy
from afterwrite.core.impossible_guards import refuse_impossible
from afterwrite.core.invocations import Context, Message
from afterwrite.core.lanes import Order, lanes_by
from afterwrite.core.names import Named, ShownByName
from afterwrite.core.outcomes import RetryPolicy
from afterwrite.core.patterns import Pattern
from afterwrite.core.patterns import compile as compile_pattern
from afterwrite.core.privacy import PrivatePath
from afterwrite.core.routes import Guard, Handler, Route, Router
from afterwrite.core.sending import Sender
from afterwrite.errors import DeclarationError

if TYPE_CHECKING:
    from afterwrite.core.pipes import Filter, Origin, Pipe, Transform

Scope: TypeAlias = Literal["MessageAttributes", "MessageBody"]
StreamKind: TypeAlias = Literal["dynamodb", "kinesis"]
"""By which of the two a table's changes come: DynamoDB Streams, or Kinesis Data Streams for DynamoDB."""
STREAM_KINDS: Final = get_args(StreamKind)

FUNCTION_QUEUE: Final = "function-"
KINESIS_STREAM: Final = "-changes"
"""What the name of a Kinesis stream of changes adds to its table's."""
DEAD_LETTERS: Final = "-dead-letters"
"""What the name of a dead letter queue adds to its queue's."""


_NOTHING: Final[Mapping[str, Any]] = {}
_KINESIS_STREAM_CHARACTERS_MAX: Final = 128
# What a newcomer looks for on the table that was declared, and what `context.table` gives has.
_CLIENTS_METHODS: Final = ("get", "put", "update", "delete", "query", "scan")
KINESIS_RETENTION_HOURS_MIN: Final = 24


_Declared = TypeVar("_Declared", bound=Named)


@dataclass(frozen=True, eq=False, repr=False)
class Table(MappedStream):
    """A DynamoDB table whose changes run routes, and Lambda functions."""

    kind: ClassVar = "dynamodb"

    name: str
    partition_key: Key
    sort_key: Key | None
    ttl: str | None
    view_type: str
    retention_hours: int
    order: Order = "partition_key"
    stream: StreamKind = "dynamodb"
    private: tuple[PrivatePath, ...] = ()
    indexes: tuple[GlobalIndex, ...] = ()
    routes: list[Route] = field(default_factory=list)
    event_source_mappings: list[EventSourceMapping] = field(default_factory=list)
    pipes: list[Pipe] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)

    if not TYPE_CHECKING:  # else a type checker would take any name for an attribute

        def __getattr__(self, name: str) -> Any:
            """Nothing: the error says where a table is read and written."""
            if name in _CLIENTS_METHODS:
                raise AttributeError(
                    f"a declared table has no {name}: write context.table({self.name!r}).{name}(…) in a function, "
                    f"engine.table({self.name!r}).{name}(…) beside it; a route returns effects"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def kinesis_stream(self) -> str | None:
        """The name of the Kinesis stream that its changes come by, None where they come by DynamoDB Streams."""
        return self.name + KINESIS_STREAM if self.stream == "kinesis" else None

    @declaration
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
        names attributes of which one must differ. Raises DeclarationError for conditions that can never hold.
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
            changed=attribute_names("changed", changed),
            old=conditions("old", old),
            new=conditions("new", new),
        )
        types = {key.name: key.type for key in (self.partition_key, self.sort_key) if key is not None}
        refuse_impossible(guard, self.name, named=event_names, view_type=self.view_type, keys=types)

        def declare(handler: Handler) -> Handler:
            check_code("route", handler, ["change"])
            self.routes.append(Route(handler.__name__, self.name, guard, handler))
            self.router()
            return handler

        return declare

    @declaration
    def pipe(
        self,
        *,
        to: Queue | Topic | Bus | DeliveryStream | AuditLog | Function,
        filter: Filter = None,
        enrich: Function | None = None,
        transform: Transform = None,
        name: str | None = None,
    ) -> Pipe:
        """Declare a pipe from this table's changes to a target, as EventBridge Pipes have them (S31).

        `filter` is a pattern on a change's stream record, or up to five of which one must match. `enrich` is invoked
        with each such record; what it answers goes on, each member of a list for itself, and nothing where it is
        empty. `transform` is an input template or a pure function from the one to the target's payload. The name is
        `TABLE-to-TARGET` unless given. Raises DeclarationError, of patterns InvalidPattern.
        """
        from afterwrite.core.pipes import Pipe, compile_filter, compile_transform, pipe_target

        check_target(f"as the target of a pipe from {self.name}", to, _PIPE_TARGETS)
        if enrich is not None:
            check_target(f"as the enrichment of a pipe from {self.name}", enrich, (Function,))
        name = f"{self.name}-to-{to.name}" if name is None else name
        check_name("pipe", name, [*(pipe.name for pipe in self.pipes), *(route.name for route in self.routes)])
        (given, patterns), shape = compile_filter(name, filter), compile_transform(transform)
        enrichment = None if enrich is None else f"pipe-{name}"
        if isinstance(to, Function) and not (to.queue is None and to.pipe is None):
            raise DeclarationError(f"expected a function that is no queue's consumer as the target of {name}")
        target = pipe_target(name, type(to).__name__, to.name)
        pipe = Pipe(name, self.name, given, patterns, enrichment, shape, target)
        if enrich is not None and enrichment is not None:
            add_declared(self.functions, replace(enrich, name=enrichment, pipe=pipe))
        self.pipes.append(pipe)
        return pipe

    @property
    def routed_pipes(self) -> list[Pipe]:
        """The pipes that are routes on AWS, too: those that no EventBridge Pipe can do."""
        return [pipe for pipe in self.pipes if pipe.shaped_by == "routes"]

    def router(self, origin: Origin | None = None, *, pipes: Sequence[Pipe] | None = None) -> Router:
        """The table's routes and pipes, or those of `pipes`, compiled; their records say that they are from `origin`.

        Raises DeclarationError or InvalidPattern where one is wrong.
        """
        pipes = self.pipes if pipes is None else pipes
        if not pipes:
            return Router(self.routes, self.private)
        from afterwrite.core.pipes import Origin

        if origin is None:
            origin = Origin("us-east-1", f"arn:aws:dynamodb:us-east-1:000000000000:table/{self.name}/stream/-")
        return Router([*self.routes, *(pipe.route(origin) for pipe in pipes)], self.private)


@dataclass(frozen=True, eq=False, repr=False)
class Queue(ShownByName):
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

    @declaration
    def consumer(
        self,
        *,
        concurrency: int = 4,
        timeout_s: float | None = None,
        age_max_s: float | None = None,
        exhausted: Exhausted = "dead_letter",
        sends: Sequence[Sender] = (),
    ) -> Callable[[Callable[[Message, Context], Any]], Function]:
        """Declare the decorated function as the queue's consumer; a message it raises on becomes visible again.

        After a failure nothing older than `age_max_s` is tried again. With `exhausted="park"` a message that was
        received too often stays, and its lane waits behind it. `sends` names the targets that it sends to.
        """

        def declare(handler: Callable[[Message, Context], Any]) -> Function:
            check_code("consumer", handler, ["message", "context"])
            return self._consumed_by(
                handler.__name__, handler, concurrency, timeout_s, age_max_s, exhaustion(exhausted), senders(sends)
            )

        return declare

    @declaration
    def target(
        self,
        name: str,
        sender: Sender,
        *,
        concurrency: int = 4,
        timeout_s: float | None = None,
        age_max_s: float | None = None,
        exhausted: Exhausted = "dead_letter",
    ) -> Function:
        """Declare a target as the queue's consumer: it is sent the messages' bodies, in order per lane."""
        check_code("target", sender, ["request", "context"])
        return self._consumed_by(name, sender, concurrency, timeout_s, age_max_s, exhaustion(exhausted), (sender,))

    def _consumed_by(
        self,
        name: str,
        handler: Callable[[Message, Context], Any],
        concurrency: int,
        timeout_s: float | None,
        age_max_s: float | None,
        exhausted: Exhausted,
        sends: tuple[Sender, ...],
    ) -> Function:
        taken = next((each.name for each in self.functions if each.queue is self), None)
        if taken is not None:
            raise DeclarationError(f"the queue {self.name} has the consumer {taken} already: use another queue")
        function = Function(
            name=name,
            handler=handler,
            policy=RetryPolicy(attempts_max=self.max_receives, age_ms_max=age_ms_max(age_max_s)),
            timeout_s=self.visibility_timeout_s if timeout_s is None else timeout_s,
            concurrency=at_least_one("concurrency", concurrency),
            queue=self,
            exhausted=exhausted,
            sends=sends,
        )
        return add_declared(self.functions, function)


@dataclass(frozen=True, eq=False, repr=False)
class Function(ShownByName):
    """User code with side effects, invoked later, with retries, a timeout, and a dead letter queue.

    What one with a `queue` gets are that queue's messages; what one with a `pipe` answers goes on to its target. It may
    send to the targets of `sends`, one of which may be its handler.
    """

    name: str
    handler: Callable[[Any, Context], Any]
    policy: RetryPolicy
    timeout_s: float
    concurrency: int
    queue: Queue | None = None
    pipe: Pipe | None = None
    exhausted: Exhausted = "dead_letter"
    sends: tuple[Sender, ...] = ()

    @property
    def queue_name(self) -> str:
        """The durable queue that feeds it."""
        return self.queue.name if self.queue is not None else FUNCTION_QUEUE + self.name

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


@dataclass(frozen=True, eq=False, repr=False)
class Topic(ShownByName):
    """A topic that fans messages out to its subscriptions."""

    name: str
    subscriptions: list[Subscription] = field(default_factory=list)

    def publish(
        self, message: Any, *, subject: str | None = None, attributes: Mapping[str, Any] | None = None
    ) -> Publish:
        """The effect that publishes a message."""
        return Publish(self.name, message, subject, attributes or {})

    @declaration
    def subscribe(
        self,
        queue: Queue,
        *,
        filter_policy: Mapping[str, Any] | None = None,
        scope: Scope = "MessageAttributes",
    ) -> None:
        """Send messages to `queue`: all, or those that the filter policy matches."""
        check_target(f"as a subscription of {self.name}", queue, (Queue,))
        if scope not in get_args(Scope):
            raise DeclarationError(f"expected scope to be one of {', '.join(get_args(Scope))}, got {scope!r}")
        if any(each.queue is queue for each in self.subscriptions):
            raise DeclarationError(f"the queue {queue.name} subscribes to {self.name} already: declare it once")
        policy = None if filter_policy is None else FilterPolicy(filter_policy, scope)
        self.subscriptions.append(Subscription(queue, policy))


@dataclass(frozen=True, eq=False, repr=False)
class Rule(ShownByName):
    """A bus's rule: events that match the pattern go to every target; `source` is the pattern as it was declared."""

    name: str
    pattern: Pattern
    targets: tuple[Queue | Function | DeliveryStream, ...]
    source: Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Bus(ShownByName):
    """An event bus with rules and an archive."""

    name: str
    source: str
    archive_days: int | None
    rules: list[Rule] = field(default_factory=list)

    def put(self, detail_type: str, **detail: Any) -> PutEvent:
        """The effect that puts an event on the bus."""
        return PutEvent(self.name, self.source, detail_type, detail)

    @declaration
    def rule(self, name: str, pattern: Mapping[str, Any], *, to: Sequence[Queue | Function | DeliveryStream]) -> Rule:
        """Send the events that match `pattern` to every target of `to`."""
        check_name("rule", name, [rule.name for rule in self.rules])
        for target in to:
            check_target(f"as a target of the rule {name}", target, (Queue, DeliveryStream, Function))
        rule = Rule(name, compile_pattern(pattern), tuple(to), pattern)
        if not rule.targets:
            raise DeclarationError(
                f"expected at least one target of the rule {name}, got none: name the queues, functions or delivery "
                "streams that its events go to"
            )
        self.rules.append(rule)
        return rule


@dataclass(frozen=True, eq=False, repr=False)
class DeliveryStream(ShownByName):
    """A delivery stream that buffers records by time and size and writes them to a partitioned lake.

    `key` are the fields that say what a record is about.
    """

    name: str
    buffer_seconds: float
    buffer_mib: float
    columns: Mapping[str, type]
    key: tuple[str, ...] = ()

    def put(self, record: Mapping[str, Any] = _NOTHING, /, **fields: Any) -> Deliver:
        """The effect that delivers a record: a mapping, fields by their names, or both."""
        return Deliver(self.name, {**record, **fields})


@dataclass(frozen=True, eq=False, repr=False)
class AuditLog(ShownByName):
    """An append-only, hash-chained log; the content of a `forgettable` one is encrypted with keys by lane."""

    name: str
    retain_days: int | None
    forgettable: bool = False

    def append(self, entry: Mapping[str, Any] = _NOTHING, /, **fields: Any) -> Append:
        """The effect that appends an entry: a mapping, fields by their names, or both."""
        return Append(self.name, {**entry, **fields})

    def record(self, change: Change) -> Append:
        """The effect that appends who changed what, and how: the change with both its images."""
        if not isinstance(change, Change):
            got = type(change).__name__
            raise TypeError(f"expected the change that a route is called with, got {got}: record that, or append(…)")
        return Append(self.name, audit_entry(change))


_PIPE_TARGETS: Final = (Queue, Topic, Bus, DeliveryStream, AuditLog, Function)


def refuse_forgettable_on_aws(log: AuditLog) -> None:
    """Raise DeclarationError for an audit log that AWS could not forget of: its objects are under Object Lock."""
    if log.forgettable:
        raise DeclarationError(
            f"expected an audit log that is not forgettable on AWS, where none keeps keys for it, got {log.name}: "
            "declare it without forgettable=True, or run the app on the embedded engine"
        )


def lanes_of(table: Table) -> Callable[[Change], str]:
    """The lane of a change of the table, by its declared order."""
    return lanes_by(table.order, table.partition_key.name, table.sort_key.name if table.sort_key else None)


def check_stream(table: str, stream: str, view_type: str) -> None:
    """Raise DeclarationError where the table's changes cannot come by such a stream."""
    if stream not in STREAM_KINDS:
        raise DeclarationError(f"expected a stream of {', '.join(STREAM_KINDS)} for {table}, got {stream!r}")
    if stream == "kinesis" and view_type != NEW_AND_OLD_IMAGES:
        raise DeclarationError(
            f"expected no view_type for {table} with stream='kinesis', whose records carry both images, "
            f"got {view_type!r}: leave it out"
        )
    if stream == "kinesis" and len(table) + len(KINESIS_STREAM) > _KINESIS_STREAM_CHARACTERS_MAX:
        raise DeclarationError(
            f"expected a name of at most {_KINESIS_STREAM_CHARACTERS_MAX - len(KINESIS_STREAM)} characters for a table "
            f"with stream='kinesis', got {table!r}"
        )


def add_declared(declared: list[_Declared], new: _Declared) -> _Declared:
    """Add a declaration to those of its kind. Raises DeclarationError for its name."""
    check_name(kind_of(type(new)), new.name, [each.name for each in declared])
    declared.append(new)
    return new
