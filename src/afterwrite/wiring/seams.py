"""Where others may come between an engine's parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.ports import Arrivals, Sink, StepSink, WorkQueue
from afterwrite.engine.delivery import Invocable
from afterwrite.server.http import Handler
from afterwrite.store.environment import Environment


def _as_it_is(part: Any, *_: Any) -> Any:
    return part


@dataclass(frozen=True, slots=True)
class Seams:
    """Where others may come between an engine's parts; by default nobody does.

    Each gets a part and gives one that does the same; of several parts of a kind it is also told the name.
    """

    open_store: Callable[..., Environment] = Environment
    invocable: Callable[[Invocable], Invocable] = _as_it_is
    mapping: Callable[[EventSourceMapping], EventSourceMapping] = _as_it_is
    work_queue: Callable[[WorkQueue, str], WorkQueue] = _as_it_is
    arrivals: Callable[[Arrivals, str], Arrivals] = _as_it_is
    steps: Callable[[StepSink, str], StepSink] = _as_it_is
    sink: Callable[[Sink, str], Sink] = _as_it_is
    handler: Callable[[Handler], Handler] = _as_it_is
