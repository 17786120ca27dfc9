"""Figures of what follows from a load: how long after its first write the last effect is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.load import Load
from bench.processes import Unavailable
from bench.report import Figure

DRAINED_S_MAX = 900.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Drained:
    """One run: the writes' load, how many changes there were, and how long until the last effect."""

    load: Load
    changes: int
    seconds: float

    def measures(self) -> Mapping[str, float]:
        """What is reported."""
        return {
            "changes/s": self.changes / self.seconds,
            "changes": self.changes,
            "seconds of writing": self.load.seconds,
            "seconds until the last effect": self.seconds,
        }


def rounds(figure: Figure, count: int, systems: Mapping[str, Callable[[], Drained]]) -> Figure:
    """Add `count` alternating rounds of all systems; one that cannot run, or whose round does not end, is left out."""
    for _ in range(count):
        for name, run in systems.items():
            if name in figure.absent:
                continue
            try:
                drained = run()
            except Unavailable as reason:
                figure.leave_out(name, str(reason))
                continue
            except TimeoutError as error:
                figure.fault(f"{name}: {error}")
                figure.leave_out(name, "a round did not end")
                continue
            for fault in drained.load.faults():
                figure.fault(f"{name}: {fault}")
            figure.add(name, drained.measures())
    return figure


def wait_until(condition: Callable[[], bool]) -> float:
    """The time, in seconds since the epoch, at which the condition was found to hold. Raises TimeoutError."""
    deadline = time.monotonic() + DRAINED_S_MAX
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"effects were still under way {DRAINED_S_MAX:.0f} s after the last write")
        time.sleep(_POLL_S)
    return time.time()
