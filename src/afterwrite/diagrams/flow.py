"""An app's flow as a graph: what its declaration says, and what its routes and functions name in their code.

A route's effects are known when it has run. What it may reach is found in its code: the declared values that it, or a
function of the user's that it calls, refers to by a global or enclosed name. The same goes for the tables that a
function uses. What is reached otherwise, through a dictionary for instance, is not in the picture.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from afterwrite.app import App
from afterwrite.core.changes import EVENT_NAMES
from afterwrite.core.routes import Guard

Kind: TypeAlias = Literal[
    "table",
    "route",
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
    """What goes from one node to another; `back` for the writes of a function to a table whose changes run routes."""

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


def flow_of(app: App) -> Flow:
    """The flow that `app` declares, in the order of its declaration."""
    flow = Flow(app.name)
    ids: dict[int, str] = {}
    kinds: list[tuple[Kind, list[Any]]] = [
        ("table", app.tables),
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
        for number, each in enumerate(declared):
            ids[id(each)] = f"{kind}{number}"
            flow.nodes.append(Node(ids[id(each)], kind, each.name))
    reached = _Reached(app, ids)
    for table in app.tables:
        for route in table.routes:
            route_id = f"route{sum(node.kind == 'route' for node in flow.nodes)}"
            flow.nodes.append(Node(route_id, "route", route.name))
            flow.edges.append(Edge(ids[id(table)], route_id, guard_text(route.guard)))
            flow.edges.extend(Edge(route_id, target) for target in reached.by(route.handler, tables=False))
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
    with_routes = {ids[id(table)] for table in app.tables if table.routes}
    for function in app.functions:
        if function.queue is not None:
            flow.edges.append(Edge(ids[id(function.queue)], ids[id(function)]))
        for target in reached.by(function.handler, tables=True):
            flow.edges.append(Edge(ids[id(function)], target, back=target in with_routes))
        for sender in function.sends:
            if id(sender) not in ids:
                ids[id(sender)] = f"outside{sum(node.kind == 'outside' for node in flow.nodes)}"
                flow.nodes.append(Node(ids[id(sender)], "outside", type(sender).__name__))
            flow.edges.append(Edge(ids[id(function)], ids[id(sender)]))
    return flow


def guard_text(guard: Guard) -> str:
    """When a route runs, in a few words; no words for every change."""
    parts = [] if guard.event_names == frozenset(EVENT_NAMES) else ["/".join(sorted(guard.event_names))]
    parts.extend(f"{name} {_matchers_text(matchers)}" for name, matchers in guard.keys.items())
    if guard.changed:
        parts.append(f"{' or '.join(guard.changed)} changed")
    parts.extend(f"old {name}" for name in guard.old)
    parts.extend(f"new {name}" for name in guard.new)
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

    def by(self, handler: Any, *, tables: bool) -> list[str]:
        """The ids of the tables, or of what is no table, that the code of `handler` names, each once."""
        found = (id(value) for value in _named(handler, set()))
        return list(dict.fromkeys(self._ids[each] for each in found if each in self._ids and self._is(each, tables)))

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
