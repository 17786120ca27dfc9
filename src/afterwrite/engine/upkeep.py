"""Upkeep: what has to be done from time to time, in bounded rounds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from afterwrite.engine.telemetry import Telemetry

_EVERY_S = 0.5


class Round(Protocol):
    """What a round did."""

    @property
    def more(self) -> bool:
        """Whether a bound cut the round short."""
        ...

    @property
    def held_back(self) -> Sequence[str]:
        """The tables with changes that are past their retention and unread."""
        ...


class Upkeep:
    """The unit of work that runs the rounds."""

    name = "upkeep"

    def __init__(self, run_round: Callable[[], Round], telemetry: Telemetry) -> None:
        self._run_round = run_round
        self._telemetry = telemetry
        self._held_back: frozenset[str] = frozenset()

    def watch(self, event: threading.Event) -> None:
        """Nothing but the time tells."""

    def run_once(self) -> float | None:
        """Run a round; how long (s) until the next."""
        done = self._run_round()
        held_back = frozenset(done.held_back)
        for table in held_back - self._held_back:
            self._telemetry.retention_held_back(table)
        self._held_back = held_back
        return 0.0 if done.more else _EVERY_S
