"""Waits until all that follows from the writes is done."""

from __future__ import annotations

import time
from typing import Any, Final

from demonstration.engine_process import EngineProcess
from demonstration.stage import DemoFailed, Display

SETTLED_S_MAX: Final = 600.0
_POLL_S: Final = 0.1


def settle(view: Any, engine: EngineProcess, display: Display) -> None:
    """Wait for the engine, whose data directory `view` shows. Raises DemoFailed after ten minutes, and EngineFailed."""
    behind = _behind(view)
    deadline = time.monotonic() + SETTLED_S_MAX
    with display.progress("What follows: what was still to do when the load ended", behind) as show:
        while not view.idle():
            show(max(0, behind - _behind(view)))
            if time.monotonic() > deadline:
                raise DemoFailed(f"not all was done after {SETTLED_S_MAX:.0f} s: {view.depths()}")
            engine.check()
            time.sleep(_POLL_S)
        show(behind)


def _behind(view: Any) -> int:
    """How many changes are before the routes, and messages before the functions."""
    status = view.status()
    behind: int = sum(consumer.lag_records for consumer in status.consumers) + sum(
        queue.waiting + queue.in_flight for queue in status.queues
    )
    return behind
