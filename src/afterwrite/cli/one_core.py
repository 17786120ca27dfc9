"""One core for the engine's threads.

Python runs one of them at a time. Left to the system they take their turns on all cores, and each turn begins with
waking a core and with the caches of another: the same work costs up to a third more. So they share one core, the
idlest when the engine starts, and move when something else keeps it busy. Threads that never run Python stay where the
system places them. Of an engine's processes, the one that writes and the one that runs functions never share a core
where there are two. A third one that writes files now and then is left to the system, too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Final

from afterwrite.server import front

PERIOD_S: Final = 5.0
_STATISTICS: Final = Path("/proc/stat")
_THREADS: Final = Path("/proc/self/task")
# Of /proc/stat's columns: user, nice, system, idle, iowait, irq, softirq, steal.
_IDLE: Final = (3, 4)
# Of a core's time: so much must be taken by others, and so much less on the core to go to, before a move is worth it.
_CROWDED: Final = 0.3
_GAIN: Final = 0.2


def core_to_use(current: int, busy: Mapping[int, float], own: float, taken: Set[int] = frozenset()) -> int:
    """The core to be on, none that is `taken` where there are others.

    `busy` is the share of its time that each core was busy, `own` what this process took.
    """
    others = {core: share for core, share in busy.items() if core not in taken} or dict(busy)
    if current not in others:
        return min(others, key=lambda core: (others[core], core))
    others[current] = max(0.0, busy[current] - own)
    idlest = min(others, key=lambda core: (others[core], core))
    if others[current] > _CROWDED and others[idlest] < others[current] - _GAIN:
        return idlest
    return current


class OneCore:
    """Keeps the threads of this process together on one core. Does nothing where the system cannot (Linux can)."""

    def __init__(self) -> None:
        self._core = -1
        self._allowed: set[int] = set()
        self._times: Mapping[int, tuple[float, float]] = {}
        self._own_s = 0.0
        self._other: int | None = None
        self._placed: frozenset[str] = frozenset()  # the threads that are where they belong
        if sys.platform == "linux" and len(allowed := os.sched_getaffinity(0)) > 1:
            self._allowed = allowed
            self._times, self._own_s = _core_times(), time.process_time()

    def keep_apart_from(self, pid: int) -> None:
        """Leave the core of that process to it."""
        self._other = pid

    def settle(self) -> None:
        """Choose the core, or another one than before, for the threads that are there; those they start start there."""
        if sys.platform != "linux" or not self._allowed:
            return
        times, own_s = _core_times(), time.process_time()
        busy: dict[int, float] = {}
        whole = 0.0
        for core in self._allowed & times.keys() & self._times.keys():
            taken, total = (now - before for now, before in zip(times[core], self._times[core], strict=True))
            busy[core] = taken / total if total > 0 else 0.0
            whole = max(whole, total)
        hertz = os.sysconf("SC_CLK_TCK")
        own = (own_s - self._own_s) * hertz / whole if whole else 0.0
        self._times, self._own_s = times, own_s
        if busy:
            self._place(core_to_use(self._core, busy, own, self._taken()))

    def _place(self, core: int) -> None:
        """Put the threads on `core`: all of them when it is another than before, else those that are new."""
        try:
            threads = frozenset(os.listdir(_THREADS))  # noqa: PTH208 - Path.iterdir takes ten times as long
        except OSError:  # as of the cores
            return
        is_same, self._core = core == self._core, core
        for thread in threads - self._placed if is_same else threads:
            try:
                without_python = (_THREADS / thread / "comm").read_text().strip() == front.THREAD_NAME
                os.sched_setaffinity(int(thread), self._allowed if without_python else {core})
            except OSError:
                continue  # it has ended
        self._placed = threads

    def _taken(self) -> Set[int]:
        """The core of the other process, where it has settled on one."""
        if self._other is None:
            return frozenset()
        try:
            cores = os.sched_getaffinity(self._other)
        except OSError:  # it has ended
            return frozenset()
        return cores if len(cores) == 1 else frozenset()


def _core_times() -> Mapping[int, tuple[float, float]]:
    """For each core the time (clock ticks) that it was busy, and all of its time, since the system started.

    Of none where the system does not say now, as where no descriptor is left to ask it by.
    """
    times: dict[int, tuple[float, float]] = {}
    try:
        statistics = _STATISTICS.read_text()
    except OSError:
        return times
    for line in statistics.splitlines():
        name, *columns = line.split()
        if name.startswith("cpu") and name != "cpu":
            ticks = [int(column) for column in columns[:8]]
            idle = sum(ticks[column] for column in _IDLE)
            times[int(name[3:])] = (float(sum(ticks) - idle), float(sum(ticks)))
    return times
