"""Planning: what a change leads to, or why its lane has to wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from afterwrite.core.changes import Change
from afterwrite.core.effects import StampedEffect
from afterwrite.core.failures import failure_of, reason_of
from afterwrite.core.outcomes import Park
from afterwrite.core.routes import RouteFailed, Router

T = TypeVar("T")


def plan(router: Router, change: Change, lane: str, place: Callable[[StampedEffect], Iterable[T]]) -> list[T] | Park:
    """What the routes ask for after `change`, each effect placed; Park where a route fails, or a placement."""
    try:
        effects = router.plan(change, lane)
    except RouteFailed as failed:
        cause = failed.__cause__ or failed
        return Park(failure_of(cause, raised_by=failed.route, reason=f"RouteFailed: {failed}"))
    placed: list[T] = []
    for effect in effects:
        try:
            placed.extend(place(effect))
        except BaseException as error:  # noqa: BLE001 - an effect that cannot be placed parks its change's lane
            _, route, ordinal = effect.id.rsplit("/", 2)
            reason = f"RouteFailed: route {route}, effect {ordinal}: {reason_of(error)}"
            return Park(failure_of(error, raised_by=route, reason=reason))
    return placed
