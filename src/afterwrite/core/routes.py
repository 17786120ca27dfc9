"""Routes: pure functions from a change to effects, guarded by conditions on the change."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from afterwrite.core.changes import EVENT_NAMES, Change
from afterwrite.core.conditions import Matchers, compile_condition
from afterwrite.core.effects import EFFECT_TYPES, Effect, StampedEffect, stamp
from afterwrite.core.failures import reason_of
from afterwrite.core.privacy import MaskedChange, PrivatePath
from afterwrite.core.values import Item
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

    def compile(self) -> CompiledGuard:
        """The guard with its matchers compiled."""
        admits_old, admits_new = _compiled("old", self.old), _compiled("new", self.new)
        changed = self.changed

        def admits_images(change: Change) -> bool:
            for name in changed:
                if change.changed(name):
                    break
            else:
                if changed:
                    return False
            if admits_new is not None and not admits_new(change.new_image or {}):
                return False
            return admits_old is None or admits_old(change.old_image or {})

        guards_images = changed or admits_old or admits_new
        return CompiledGuard(self.event_names, _compiled("keys", self.keys), admits_images if guards_images else None)


class CompiledGuard(NamedTuple):
    """A guard in the parts that a router asks in turn, the cheapest first; None admits everything."""

    event_names: frozenset[str]
    admits_keys: Callable[[Item], bool] | None
    admits_images: Callable[[Change], bool] | None


def _compiled(image: str, conditions: Mapping[str, Matchers]) -> Callable[[Item], bool] | None:
    """One predicate on an item, of all conditions on its attributes."""
    compiled = [compile_condition(matchers, name, f"{image}.{name}") for name, matchers in conditions.items()]
    if len(compiled) <= 1:
        return compiled[0] if compiled else None
    return lambda item: all(holds(item) for holds in compiled)


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

    `names` are those of all its routes. Guards see a change as it is; the routes see a mask in place of what is
    `private`, but in `change.clear`.
    """

    def __init__(self, routes: Sequence[Route], private: Sequence[PrivatePath] = ()) -> None:
        self.running: str | None = None
        self._private = private
        self.names = [route.name for route in routes]
        for name in self.names:
            if self.names.count(name) > 1:
                raise DeclarationError(
                    f"two routes of one table are named {name!r}: effects' ids are made from the name, rename one"
                )
        compiled = [(route, route.guard.compile()) for route in routes]
        self._routes = {
            event_name: [
                (route.name, guard.admits_keys, guard.admits_images, route.handler)
                for route, guard in compiled
                if event_name in guard.event_names
            ]
            for event_name in EVENT_NAMES
        }

    def keep(self, names: Container[str]) -> None:
        """Run these routes alone."""
        self._routes = {
            event_name: [route for route in routes if route[0] in names] for event_name, routes in self._routes.items()
        }

    def plan(self, change: Change, lane: str) -> list[StampedEffect]:
        """What is to be done after `change`, in the order of the routes. Raises RouteFailed."""
        planned: list[StampedEffect] = []
        shown = MaskedChange(change, self._private) if self._private else change
        for name, admits_keys, admits_images, handler in self._routes[change.event_name]:
            try:
                if admits_keys is not None and not admits_keys(change.keys_image):
                    continue
                if admits_images is not None and not admits_images(change):
                    continue
                self.running = name
                effects = _effects(name, handler(shown))
            except RouteFailed:
                raise
            except BaseException as error:
                raise RouteFailed(name, reason_of(error)) from error
            planned += stamp(effects, change.id, name, lane, change.created_at_ms)
        return planned


def _effects(route: str, result: Any) -> Sequence[Effect]:
    if result is None:
        return ()
    if isinstance(result, EFFECT_TYPES):
        return (result,)
    if not isinstance(result, Iterable) or isinstance(result, str | bytes | Mapping):
        raise RouteFailed(
            route,
            f"expected an effect, effects or None, got {type(result).__name__}: return what to do, such as "
            "function.later(…) or queue.send(…)",
        )
    # A route may be a generator: what it raises, it raises here.
    effects = list(result)
    for effect in effects:
        if not isinstance(effect, EFFECT_TYPES):
            raise RouteFailed(route, f"expected effects, got {type(effect).__name__} among them: return what to do")
    return effects
