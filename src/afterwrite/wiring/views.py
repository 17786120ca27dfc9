"""Caches of an app in the embedded engine: a function for each, over its target."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from afterwrite.app import App, Cache, Function
from afterwrite.core.effects import Show, StampedEffect
from afterwrite.core.failures import OF_TARGET
from afterwrite.core.invocations import Context
from afterwrite.core.target_failures import TargetFailure
from afterwrite.engine.gathering import Gathering
from afterwrite.errors import Rejected, TargetError, Throttled, Unavailable
from afterwrite.targets.redis import RedisCache

_ERRORS: Mapping[str, type[TargetError]] = {
    "throttled": Throttled,
    "unavailable": Unavailable,
    "rejected": Rejected,
}


def engine_functions(app: App, now_ms: Callable[[], int], closing: ExitStack) -> list[Function]:
    """The functions that the engine runs, those of caches with their code; `closing` lets go of connections."""
    functions = list(app.functions)
    for cache in app.caches:
        target = RedisCache(f"cache/{cache.name}", cache.url, now_ms=now_ms)
        closing.callback(target.close)
        functions.append(replace(cache.function, handler=_showing(cache, target)))
    return functions


def _showing(cache: Cache, target: RedisCache) -> Callable[[Any, Context], None]:
    gathering = Gathering(target.limits, target.send)
    filling = threading.Lock()

    def show(request: Mapping[str, Any], context: Context) -> None:
        effect = Show(request["cache"], request["id"], request["version"], request["values"], tuple(request["removed"]))
        stamped = StampedEffect(context.invocation_id, "", int(request["at_ms"]), effect)
        _raise(gathering.perform(target.entry(stamped)))
        if cache.views and not target.is_whole:
            with filling:  # one of the threads does it for all
                for failure in target.fill(lambda: _rows(cache, context)):
                    _raise(failure)

    return show


def _rows(cache: Cache, context: Context) -> Iterator[Show]:
    for view in cache.views:
        for item in context.table(view.table).scan():
            if (show := view.shows(item)) is not None:
                yield show


def _raise(failure: TargetFailure | None) -> None:
    """Raise a target's failure as a function tells it."""
    if failure is not None:
        raise _ERRORS[OF_TARGET[failure.kind]](failure.reason)
