"""An app's flow as a graph: what its declaration says, and what its routes and functions name in their code.

A route's effects are known when it has run. What it may reach is found in its code: the declared values that it, or a
function of the user's that it calls, refers to by a global or enclosed name. The same goes for the tables that a
function uses. What is reached otherwise, through a dictionary for instance, is not in the picture.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from afterwrite.app import App
from afterwrite.core.changes import EVENT_NAMES
from afterwrite.core.routes import Guard

if TYPE_CHECKING:
    from afterwrite.core.event_source_mapping.declaration import MappedStream
    from afterwrite.core.pipes import Pipe, TargetKind

Kind: TypeAlias = Literal[
    "table",
    "kinesis_stream",
    "route",
    "pipe",
    "topic",
    "queue",
    "bus",
    "function",
    "delivery_stream",
    "audit_log",
    "outside",
    "cache",
    "search_index",
]

_PIPE_TARGETS: Final[Mapping[TargetKind, Kind]] = {
    "Queue": "queue",
    "Topic": "topic",
    "Bus": "bus",
    "DeliveryStream": "delivery_stream",
    "AuditLog": "audit_log",
    "Function": "function",
}
_DESTINATIONS: Final[Mapping[str, Kind]] = {
    "Queue": "queue",
    "sqs": "queue",
    "Topic": "topic",
    "sns": "topic",
    "Function": "function",
    "lambda": "function",
}
"""What failures of mapped functions go to, by the class of what is declared and by the service that an ARN names."""

_LABEL_CHARACTERS_MAX: Final = 48
_LOADS_BY_NAME: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLOSURE"})


@dataclass(frozen=True, slots=True)
class Node:
    """A declared thing or a route. `id` is unlike any other's and safe in every notation."""

    id: str
    kind: Kind
    label: str


@dataclass(frozen=True, slots=True)
class Edge:
    """What goes from one node to another; `back` for a function's writes to a table from which something follows."""

    source: str
    target: str
    label: str = ""
    back: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """The graph of an app; without the edges that lead back it has no cycle."""

    name: str
    nodes: list[Node] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def add(self, kind: Kind, label: str) -> str:
        """Add a node; its id."""
        node = Node(f"{kind}{sum(each.kind == kind for each in self.nodes)}", kind, label)
        self.nodes.append(node)
        return node.id

    def find(self, kind: Kind, label: str) -> str:
        """The id of the first such node, of a new one where there is none."""
        found = (node.id for node in self.nodes if (node.kind, node.label) == (kind, label))
        return next(found, None) or self.add(kind, label)


def flow_of(app: App) -> Flow:
    """The flow that `app` declares, in the order of its declaration."""
    flow = Flow(app.name)
    ids: dict[int, str] = {}
    kinds: list[tuple[Kind, Sequence[Any]]] = [
        ("table", app.tables),
        ("kinesis_stream", app.kinesis_streams),
        ("topic", app.topics),
        ("bus", app.buses),
        ("queue", app.queues),
        ("function", app.functions),
        ("delivery_stream", app.delivery_streams),
        ("audit_log", app.audit_logs),
        ("cache", app.caches),
        ("search_index", app.search_indexes),
    ]
    for kind, declared in kinds:
        for each in declared:
            ids[id(each)] = flow.add(kind, each.name)
    reached = _Reached(app, ids)
    for table in app.tables:
        for route in table.routes:
            route_id = flow.add("route", route.name)
            flow.edges.append(Edge(ids[id(table)], route_id, guard_text(route.guard)))
            flow.edges.extend(Edge(route_id, target) for target in reached.by(route.handler, tables=False))
        for pipe in table.pipes:
            _add_pipe(flow, pipe)
    for topic in app.topics:
        for subscription in topic.subscriptions:
            policy = subscription.filter_policy
            label = "" if policy is None else f"by {', '.join(policy.paths)}"
            flow.edges.append(Edge(ids[id(topic)], ids[id(subscription.queue)], label))
    for bus in app.buses:
        for rule in bus.rules:
            flow.edges.extend(
                Edge(ids[id(bus)], ids[id(target)], rule.name) for target in rule.targets if id(target) in ids
            )
    for function in app.functions:
        if function.queue is not None:
            flow.edges.append(Edge(ids[id(function.queue)], ids[id(function)]))
        flow.edges.extend(reached.tables_of(ids[id(function)], function.handler))
        for sender in function.sends:
            if id(sender) not in ids:
                ids[id(sender)] = flow.add("outside", type(sender).__name__)
            flow.edges.append(Edge(ids[id(function)], ids[id(sender)]))
    _add_mapped_functions(flow, app, reached)
    return flow


def _add_pipe(flow: Flow, pipe: Pipe) -> None:
    """A pipe with what it is filtered by, its enrichment and its target."""
    begin = end = flow.add("pipe", pipe.name)
    flow.edges.append(Edge(flow.find("table", pipe.table), begin, "filtered" if pipe.filter else ""))
    if pipe.enrichment is not None:
        end = flow.find("function", pipe.enrichment)
        flow.edges.append(Edge(begin, end, "enriched"))
    flow.edges.append(Edge(end, flow.find(_PIPE_TARGETS[pipe.target.kind], pipe.target.name)))


def _add_mapped_functions(flow: Flow, app: App, reached: _Reached) -> None:
    """The Lambda functions on streams, with where their failures go."""
    streams: list[tuple[Kind, MappedStream]] = [("table", table) for table in app.tables]
    for kinesis_stream in app.kinesis_streams:
        streams.append(("kinesis_stream", kinesis_stream))
        stream_id = flow.find("kinesis_stream", kinesis_stream.name)
        of_tables = (table for table in app.tables if table.kinesis_stream == kinesis_stream.name)
        flow.edges.extend(Edge(flow.find("table", table.name), stream_id) for table in of_tables)
    mapped: dict[str, str] = {}
    for kind, stream in streams:
        for mapping in stream.event_source_mappings:
            name = mapping.function_name
            if name not in mapped:
                mapped[name] = flow.add("function", name)
                flow.edges.extend(reached.tables_of(mapped[name], mapping.handler))
            flow.edges.append(Edge(flow.find(kind, stream.name), mapped[name]))
            if mapping.destination is not None:
                failed = Edge(mapped[name], _failure_destination(flow, mapping.destination), "on failure")
                flow.edges.extend({failed}.difference(flow.edges))


def _failure_destination(flow: Flow, destination: Any) -> str:
    """The id of a declared queue, topic or function, or of what an ARN names; that may be nothing of the app's."""
    if not isinstance(destination, str):
        return flow.find(_DESTINATIONS[type(destination).__name__], destination.name)
    _, _, service, *_, name = destination.split(":")
    kind = _DESTINATIONS.get(service)
    return flow.add("outside", destination) if kind is None else flow.find(kind, name)


def guard_text(guard: Guard) -> str:
    """When a route runs, in a few words; no words for every change."""
    parts = [] if guard.event_names == frozenset(EVENT_NAMES) else ["/".join(sorted(guard.event_names))]
    parts.extend(f"{name} {_matchers_text(matchers)}" for name, matchers in guard.keys.items())
    if guard.changed:
        parts.append(f"{' or '.join(guard.changed)} changed")
    parts.extend(f"old {name} {_matchers_text(matchers)}" for name, matchers in guard.old.items())
    parts.extend(f"new {name} {_matchers_text(matchers)}" for name, matchers in guard.new.items())
    text = ", ".join(parts)
    return text if len(text) <= _LABEL_CHARACTERS_MAX else text[: _LABEL_CHARACTERS_MAX - 1] + "…"


def _matchers_text(matchers: Any) -> str:
    if isinstance(matchers, Mapping):
        return " ".join(f"{name} {_matchers_text(value)}" for name, value in matchers.items())
    if isinstance(matchers, list | tuple):
        return " or ".join(_matchers_text(each) for each in matchers)
    return str(matchers)


class _Reached:
    """Which declared things a function's code names."""

    def __init__(self, app: App, ids: Mapping[int, str]) -> None:
        self._ids = ids
        self._tables = {id(table) for table in app.tables}
        self._leading = {
            ids[id(table)]
            for table in app.tables
            if table.routes or table.pipes or table.event_source_mappings or table.kinesis_stream
        }

    def by(self, handler: Any, *, tables: bool) -> list[str]:
        """The ids of the tables, or of what is no table, that the code of `handler` names, each once."""
        found = (id(value) for value in _named(handler, set()))
        return list(dict.fromkeys(self._ids[each] for each in found if each in self._ids and self._is(each, tables)))

    def tables_of(self, function: str, handler: Any) -> list[Edge]:
        """What leads from a function to the tables that its code names: back to those from which something follows."""
        return [Edge(function, table, back=table in self._leading) for table in self.by(handler, tables=True)]

    def _is(self, identity: int, table: bool) -> bool:
        return (identity in self._tables) is table


def _named(function: Any, seen: set[int]) -> Iterator[Any]:
    """What the function's code refers to by name, and the code of the user's functions that it names."""
    if not isinstance(function, types.FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    enclosed = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    for value in _loaded(function.__code__, function.__globals__, enclosed):
        yield value
        if not getattr(value, "__module__", "").startswith("afterwrite."):
            yield from _named(value, seen)


def _loaded(code: types.CodeType, names: Mapping[str, Any], enclosed: Mapping[str, types.CellType]) -> Iterator[Any]:
    """The values of the names that the code loads; of a module, those of its attributes that it goes on to."""
    module: types.ModuleType | None = None
    for instruction in dis.get_instructions(code):
        value = None
        if instruction.opname in _LOADS_BY_NAME:
            cell = enclosed.get(instruction.argval)
            value = names.get(instruction.argval) if cell is None else cell.cell_contents
        elif module is not None and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            value = getattr(module, instruction.argval, None)
        module = value if isinstance(value, types.ModuleType) else None
        if value is not None:
            yield value
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _loaded(constant, names, enclosed)
