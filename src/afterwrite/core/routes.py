"""Routes: pure functions from a change to effects, guarded by conditions on the change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from afterwrite.core.changes import EVENT_NAMES, Change
from afterwrite.core.conditions import Matchers, compile_condition
from afterwrite.core.effects import EFFECT_TYPES, Effect, StampedEffect, stamp
from afterwrite.core.failures import reason_of
from afterwrite.core.patterns import ABSENT
from afterwrite.core.privacy import MaskedChange, PrivatePath
from afterwrite.errors import DeclarationError

RouteResult: TypeAlias = Effect | Iterable[Effect] | None
Handler: TypeAlias = Callable[[Change], RouteResult]


@dataclass(frozen=True, slots=True)
class Guard:
    """When a route runs: every condition given must hold.

    `keys` conditions are on key attributes by name, `old` and `new` on attributes of the images as Python values
    (`"META"`, `prefix("TURN#")`, `less_than(10)`, a list of alternatives). `changed` names attributes of which at
    least one must differ between the images.
    """

    event_names: frozenset[str] = frozenset(EVENT_NAMES)
    keys: Mapping[str, Matchers] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    old: Mapping[str, Matchers] = field(default_factory=dict)
    new: Mapping[str, Matchers] = field(default_factory=dict)

    def compile(self) -> Callable[[Change], bool]:
        """The guard as one predicate, its matchers compiled."""
        keys, old, new = _compiled("keys", self.keys), _compiled("old", self.old), _compiled("new", self.new)
        event_names, changed = self.event_names, self.changed

        def admits(change: Change) -> bool:
            if change.event_name not in event_names:
                return False
            for name, holds in keys:
                if not holds(change.keys.get(name, ABSENT)):
                    return False
            if changed and not any(change.changed(name) for name in changed):
                return False
            for name, holds in new:
                if not holds((change.new or {}).get(name, ABSENT)):
                    return False
            return all(holds((change.old or {}).get(name, ABSENT)) for name, holds in old)

        return admits


def _compiled(image: str, conditions: Mapping[str, Matchers]) -> list[tuple[str, Callable[[Any], bool]]]:
    return [(name, compile_condition(matchers, f"{image}.{name}")) for name, matchers in conditions.items()]


@dataclass(frozen=True, slots=True)
class Route:
    """A named pure function with its guard, on one table."""

    name: str
    table: str
    guard: Guard
    handler: Handler


class RouteFailed(Exception):
    """A route raised, or returned what is no effect; `route` names it, `__cause__` is what was raised."""

    def __init__(self, route: str, reason: str) -> None:
        super().__init__(f"route {route}: {reason}")
        self.route = route


class Router:
    """The routes of one table, compiled. `running` names the route that was called last, for those who watch.

    Guards see a change as it is; the routes see a mask in place of what is `private`, but in `change.clear`.
    """

    def __init__(self, routes: Sequence[Route], private: Sequence[PrivatePath] = ()) -> None:
        self.running: str | None = None
        self._private = private
        names = [route.name for route in routes]
        for name in names:
            if names.count(name) > 1:
                raise DeclarationError(
                    f"two routes of one table are named {name!r}: effects' ids are made from the name, rename one"
                )
        self._routes = [(route.name, route.guard.compile(), route.handler) for route in routes]

    def plan(self, change: Change, lane: str) -> list[StampedEffect]:
        """What is to be done after `change`, in the order of the routes. Raises RouteFailed."""
        planned: list[StampedEffect] = []
        shown = MaskedChange(change, self._private) if self._private else change
        for name, admits, handler in self._routes:
            try:
                if not admits(change):
                    continue
                self.running = name
                effects = _effects(name, handler(shown))
            except RouteFailed:
                raise
            except BaseException as error:
                raise RouteFailed(name, reason_of(error)) from error
            planned.extend(stamp(effects, change_id=change.id, route=name, lane=lane, at_ms=change.created_at_ms))
        return planned


def _effects(route: str, result: Any) -> Sequence[Effect]:
    if result is None:
        return ()
    if isinstance(result, EFFECT_TYPES):
        return (result,)
    if not isinstance(result, Iterable):
        raise RouteFailed(route, f"expected an effect, effects or None, got {type(result).__name__}: return what to do")
    # A route may be a generator: what it raises, it raises here.
    effects = list(result)
    for effect in effects:
        if not isinstance(effect, EFFECT_TYPES):
            raise RouteFailed(route, f"expected effects, got {type(effect).__name__} among them: return what to do")
    return effects
