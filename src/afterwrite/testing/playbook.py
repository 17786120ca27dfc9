"""Transcripts of routes: this is written, that is to happen. Nothing runs but the app's own pure functions.

playbook = Playbook(app)
assert (
    playbook
    >> put(orders, PK="o-1", SK="META", status="new")
    << nothing
    >> put(orders, PK="o-1", SK="META", status="paid")
    << events.put("OrderPaid", order="o-1")
    << news.publish({"text": "paid: o-1"})
)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from afterwrite.app import App, Table, lanes_of
from afterwrite.config import Identity
from afterwrite.core.changes import NEW_AND_OLD_IMAGES, NEW_IMAGE, OLD_IMAGE, TTL_IDENTITY, Change
from afterwrite.core.effects import EFFECT_TYPES, Effect, StampedEffect
from afterwrite.core.outcomes import Park
from afterwrite.core.routes import Router
from afterwrite.core.values import Item, encode_item, from_python
from afterwrite.engine.planning import plan
from afterwrite.errors import DeclarationError
from afterwrite.local.fan_out import FanOut

_START_US: Final = 1_700_000_000_000_000


class _Nothing:
    """No effect."""

    def __repr__(self) -> str:
        return "nothing"


nothing: Final = _Nothing()
"""What is expected after a write that leads to nothing; before any other expectation it says no more than none."""


@dataclass(frozen=True, slots=True)
class failure:  # noqa: N801 - it reads as a word of the transcript
    """What is expected where a route fails, with these words in its error: the change is parked."""

    words: str


@dataclass(frozen=True, slots=True)
class Write:
    """A write to a table: the item afterwards, None where there is none; `by_ttl` where it expired."""

    table: Table
    key: Mapping[str, Any]
    item: Mapping[str, Any] | None
    by_ttl: bool = False

    def __repr__(self) -> str:
        what = "expire" if self.by_ttl else "delete" if self.item is None else "put"
        shown = self.key if self.item is None else self.item
        return f"{what}({self.table.name}, {', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def put(table: Table, /, **item: Any) -> Write:
    """An item is put."""
    return Write(table, _key(table, item), item)


def delete(table: Table, /, **key: Any) -> Write:
    """The item with the key is deleted."""
    return Write(table, _key(table, key), None)


def expire(table: Table, /, **key: Any) -> Write:
    """The item with the key expires."""
    return Write(table, _key(table, key), None, by_ttl=True)


def _key(table: Table, item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The item's key. Raises DeclarationError for one that the table cannot have, InvalidValue for none at all."""
    if not isinstance(table, Table):
        raise DeclarationError(f"expected a table of an app first, got {table!r}: give what app.table(…) returned")
    keys = [key for key in (table.partition_key, table.sort_key) if key is not None]
    names = [key.name for key in keys]
    missing = [name for name in names if name not in item]
    if missing:
        raise DeclarationError(f"expected the key attributes {names} of {table.name}, got none for {missing}")
    for key in keys:
        if key.type not in from_python(item[key.name]):
            raise DeclarationError(
                f"expected the key {key.name} of {table.name} to be of the type {key.type}, got {item[key.name]!r}"
            )
    return {name: item[name] for name in names}


Expected: TypeAlias = Effect | failure
Chosen: TypeAlias = str | Callable[..., Any]
"""A route, by its name or its function."""


class Playbook:
    """What is written, and what each write is to lead to; true where it does, an AssertionError with both where not.

    A playbook grows by `>>` a write and `<<` an effect, `nothing` or a `failure`, and does not change: what two
    transcripts begin with may be shared. Writes to one item follow each other, as in the table: the first is an
    INSERT, and one that changes nothing leads to nothing (S18). An effect that the engine would not take is a failure,
    as a route that raises is. What follows a failure in its lane waits: it leads to nothing, too.

    Of an app with many routes `routes` names those that run, by their functions or names; a pipe is one by its name.
    Raises DeclarationError for what is no route of the app.
    """

    def __init__(self, app: App, *, routes: Chosen | Iterable[Chosen] | None = None) -> None:
        self._app = app
        self._chosen = None if routes is None else _names(app, routes)
        self._entries: tuple[tuple[Write, tuple[Expected, ...]], ...] = ()

    def __rshift__(self, write: Write) -> Playbook:
        """The playbook with a write more. Raises DeclarationError for one to a table that the app has not."""
        if all(write.table is not table for table in self._app.tables):
            raise DeclarationError(
                f"expected a table of the app {self._app.name}, got {write.table.name} of another App"
            )
        return self._with((*self._entries, (write, ())))

    def __lshift__(self, expected: Expected | _Nothing) -> Playbook:
        """The playbook with an effect more that the last write is to have."""
        if not self._entries:
            raise DeclarationError("expected a write (>> put(…)) before what it leads to (<< …)")
        if isinstance(expected, _Nothing):
            return self
        if not isinstance(expected, (*EFFECT_TYPES, failure)):
            raise DeclarationError(f"expected an effect, nothing or failure(…) after <<, got {expected!r}")
        *before, (write, effects) = self._entries
        return self._with((*before, (write, (*effects, expected))))

    def __bool__(self) -> bool:
        __tracebackhide__ = True  # pytest then shows the test's assertion, and the transcript
        played = self.played()
        differs = False
        lines: list[str] = []
        for (write, expected), found in zip(self._entries, played, strict=True):
            lines.append(f"    >> {write!r}")
            for number in range(max(len(expected), len(found))):
                wanted = expected[number] if number < len(expected) else nothing
                got = found[number] if number < len(found) else nothing
                if _same(wanted, got):
                    lines.append(f"    << {got!r}")
                else:
                    differs = True
                    lines += (f"  - << {wanted!r}", f"  + << {got!r}")
        if differs:
            raise AssertionError("\n".join(("the transcript differs (- expected, + found):", *lines)))
        return True

    def played(self) -> list[list[Expected]]:
        """What each write leads to."""
        routers = {table.name: self._router(table) for table in self._app.tables}
        lanes = {table.name: lanes_of(table) for table in self._app.tables}
        fan_out = FanOut(self._app, Identity())
        items: dict[str, Item] = {}
        parked: set[str] = set()
        played: list[list[Expected]] = []
        for number, (write, _) in enumerate(self._entries):
            change = _change(write, items, number)
            lane = "" if change is None else lanes[write.table.name](change)
            if change is None or lane in parked:
                played.append([])
                continue
            planned = plan(routers[write.table.name], change, lane, partial(_placed, fan_out))
            if isinstance(planned, Park):
                parked.add(lane)
                played.append([failure(planned.failure.reason.removeprefix("RouteFailed: "))])
            else:
                played.append(list(planned))
        return played

    def _with(self, entries: tuple[tuple[Write, tuple[Expected, ...]], ...]) -> Playbook:
        grown = copy(self)
        grown._entries = entries
        return grown

    def _router(self, table: Table) -> Router:
        router = table.router()
        if self._chosen is not None:
            router.keep(self._chosen)
        return router


def _placed(fan_out: FanOut, stamped: StampedEffect) -> Sequence[Effect]:
    """The effect, where the engine would take it. Raises what the engine parks the change for."""
    fan_out.place(stamped)
    return (stamped.effect,)


def _names(app: App, routes: Chosen | Iterable[Chosen]) -> frozenset[str]:
    """The names of routes of the app. Raises DeclarationError for one that it has not."""
    known = [name for table in app.tables for name in table.router().names]
    chosen = [routes] if isinstance(routes, str) or callable(routes) else list(routes)
    names: list[Any] = [getattr(each, "__name__", each) for each in chosen]
    unknown = [repr(name) for name in names if name not in known] if names else ["none"]
    if unknown:
        raise DeclarationError(f"expected routes of {app.name} ({', '.join(known)}), got {', '.join(unknown)}")
    return frozenset(names)


def _same(wanted: object, got: object) -> bool:
    if isinstance(wanted, failure) and isinstance(got, failure):
        return wanted.words in got.words
    return wanted == got


def _change(write: Write, items: dict[str, Item], number: int) -> Change | None:
    """The change that the write makes, None where it changes nothing; `items` follow it."""
    key = encode_item(write.key)
    place = f"{write.table.name} {sorted(key.items())!r}"
    old = items.get(place)
    new = None if write.item is None else encode_item(write.item)
    if old == new:
        return None
    if new is None:
        del items[place]
    else:
        items[place] = new
    view_type = write.table.view_type
    return Change(
        id=f"{number:032x}",
        table=write.table.name,
        event_name="REMOVE" if new is None else "INSERT" if old is None else "MODIFY",
        keys=key,
        old_image=old if view_type in (OLD_IMAGE, NEW_AND_OLD_IMAGES) else None,
        new_image=new if view_type in (NEW_IMAGE, NEW_AND_OLD_IMAGES) else None,
        sequence_number=f"{number + 1:021}",
        created_at_us=_START_US + number * 1_000_000,
        user_identity=TTL_IDENTITY if write.by_ttl else None,
        view_type=view_type,
    )
