"""Routes: pure functions from a change to effects, guarded by conditions on the change."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias

from afterwrite.core.changes import EVENT_NAMES, Change
from afterwrite.core.conditions import Condition, Matchers, compile_condition
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
        admits_old, admits_new = _all_of(_conditions("old", self.old)), _all_of(_conditions("new", self.new))
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

        on_keys = _conditions("keys", self.keys)
        alone = on_keys[0] if len(on_keys) == 1 else None
        return CompiledGuard(
            self.event_names,
            alone and alone.attribute,
            alone and alone.on_text,
            _all_of(on_keys),
            admits_images if changed or admits_old or admits_new else None,
        )


class CompiledGuard(NamedTuple):
    """A guard in the parts that a router asks in turn, the cheapest first; None admits everything.

    Most guards ask for one `key`, whose text is looked up once for all that do: `admits_text` is asked in place of
    `admits_keys` where it is text.
    """

    event_names: frozenset[str]
    key: str | None
    admits_text: Callable[[str], bool] | None
    admits_keys: Callable[[Item], bool] | None
    admits_images: Callable[[Change], bool] | None


def _conditions(image: str, matchers: Mapping[str, Matchers]) -> list[Condition]:
    return [compile_condition(each, name, f"{image}.{name}") for name, each in matchers.items()]


def _all_of(conditions: Sequence[Condition]) -> Callable[[Item], bool] | None:
    """One predicate on an item, of all conditions on its attributes."""
    predicates = [condition.holds for condition in conditions]
    if len(predicates) <= 1:
        return predicates[0] if predicates else None
    return lambda item: all(holds(item) for holds in predicates)


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
        self._compiled = [(route, route.guard.compile()) for route in routes]
        self._routes = _by_event(self._compiled)

    def keep(self, names: Container[str]) -> None:
        """Run these routes alone."""
        self._routes = _by_event([each for each in self._compiled if each[0].name in names])

    def plan(self, change: Change, lane: str) -> list[StampedEffect]:
        """What is to be done after `change`, in the order of the routes. Raises RouteFailed."""
        planned: list[StampedEffect] = []
        shown = MaskedChange(change, self._private) if self._private else change
        name = ""
        try:
            for key, routes in self._routes[change.event_name]:
                name = routes[0][0]
                text = None if key is None else change.keys_image.get(key, _NO_VALUE).get("S")
                for name, admits_text, admits_keys, admits_images, handler in routes:
                    if text is not None:
                        if not admits_text(text):
                            continue
                    elif admits_keys is not None and not admits_keys(change.keys_image):
                        continue
                    if admits_images is not None and not admits_images(change):
                        continue
                    self.running = name
                    effects = _effects(name, handler(shown))
                    if effects:
                        planned += stamp(effects, change.id, name, lane, change.created_at_ms)
        except RouteFailed:
            raise
        except BaseException as error:
            raise RouteFailed(name, reason_of(error)) from error
        return planned


_NO_VALUE: Final[Mapping[str, Any]] = {}
_Run: TypeAlias = tuple[str | None, Sequence[tuple[Any, ...]]]


def _by_event(compiled: Sequence[tuple[Route, CompiledGuard]]) -> Mapping[str, Sequence[_Run]]:
    """The routes for each event, in runs of those whose guards ask for the same key."""
    routes: dict[str, Sequence[_Run]] = {}
    for event_name in EVENT_NAMES:
        of_event = (each for each in compiled if event_name in each[1].event_names)
        routes[event_name] = [
            (key, [(route.name, *guard[2:], route.handler) for route, guard in run])
            for key, run in groupby(of_event, key=lambda each: each[1].key)
        ]
    return routes


def _effects(route: str, result: Any) -> Sequence[Effect]:
    if result is None:
        return ()
    kind = type(result)
    if kind in EFFECT_TYPES:
        return (result,)
    if kind is not list and (not isinstance(result, Iterable) or isinstance(result, str | bytes | Mapping)):
        raise RouteFailed(
            route,
            f"expected an effect, effects or None, got {kind.__name__}: return what to do, such as "
            "function.later(…) or queue.send(…)",
        )
    # A route may be a generator: what it raises, it raises here.
    effects = list(result)
    for effect in effects:
        if type(effect) not in EFFECT_TYPES:
            raise RouteFailed(route, f"expected effects, got {type(effect).__name__} among them: return what to do")
    return effects
