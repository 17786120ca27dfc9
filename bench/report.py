"""Figures as values, and how they are printed."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cache import CACHE


@dataclass
class Figure:
    """One figure of several systems, taken in alternating rounds.

    `rounds` maps a system's name to one mapping of measure to value for each round; `absent` a system to the
    reason why it could not be measured; `faults` are checks that did not hold. Where `compared` names a system, the
    figure is printed as a table with a row for each measure and its ratio to the fastest of the others.
    """

    title: str
    compared: str | None = None
    rounds: dict[str, list[Mapping[str, float]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, system: str, measured: Mapping[str, float]) -> None:
        """Take one round's values, and say so, since the whole takes minutes."""
        self.rounds.setdefault(system, []).append(measured)
        if self.compared is None:
            progress(
                f"{self.title}: {system}: " + ", ".join(f"{name} {value:,.1f}" for name, value in measured.items())
            )

    def leave_out(self, system: str, reason: str) -> None:
        """Note that a system could not be measured."""
        self.absent[system] = reason
        progress(f"{self.title}: {system} is left out: {reason}")

    def fault(self, message: str) -> None:
        """Note that a check of a measurement did not hold."""
        self.faults.append(message)
        progress(f"{self.title}: FAULT: {message}")

    def medians(self, system: str) -> dict[str, float]:
        """Each measure's median over the rounds."""
        rounds = self.rounds[system]
        return {measure: statistics.median(each[measure] for each in rounds) for measure in rounds[0]}

    def measures(self) -> list[str]:
        """Every measure that any system has, in order."""
        return list(dict.fromkeys(itertools.chain(*(rounds[0] for rounds in self.rounds.values()))))

    def as_json(self) -> dict[str, Any]:
        """The figure for a script."""
        return {
            "title": self.title,
            "medians": {system: self.medians(system) for system in self.rounds},
            "rounds": {system: [dict(each) for each in rounds] for system, rounds in self.rounds.items()},
            "absent": self.absent,
            "faults": self.faults,
            **({} if self.compared is None else {"ratios": {name: ratio(self, name) for name in self.measures()}}),
        }


def table(figure: Figure) -> str:
    """The medians as text, one line a system."""
    lines = ["", figure.title]
    if figure.compared is not None:
        lines += _grid(figure, figure.compared)
    for system in figure.rounds if figure.compared is None else ():
        values = ", ".join(f"{measure} {value:,.1f}" for measure, value in figure.medians(system).items())
        lines.append(f"  {system:<28} {values}  (median of {len(figure.rounds[system])})")
    lines += [f"  {system:<28} not measured: {reason}" for system, reason in figure.absent.items()]
    lines += [f"  FAULT: {fault}" for fault in figure.faults]
    return "\n".join(lines)


def ratio(figure: Figure, measure: str) -> float | None:
    """By how much the compared system's median exceeds the best other one's, if another has this measure."""
    medians = {system: figure.medians(system) for system in figure.rounds}
    others = [values[measure] for system, values in medians.items() if system != figure.compared and measure in values]
    ours = medians.get(figure.compared or "", {}).get(measure)
    return ours / max(others) if ours is not None and others and max(others) else None


def _grid(figure: Figure, compared: str) -> list[str]:
    medians = {system: figure.medians(system) for system in figure.rounds}
    measures = figure.measures()
    width = max(map(len, measures), default=0)
    heads = "".join(f"  {system}" for system in medians)
    lines = [f"  {'':<{width}}{heads}  {compared.split()[0]} / fastest peer"]
    for measure in measures:
        cells = "".join(f"  {_cell(values.get(measure)):>{len(system)}}" for system, values in medians.items())
        times = ratio(figure, measure)
        lines.append(f"  {measure:<{width}}{cells}  {'-' if times is None else f'{times:.2f}'}")
    return lines


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def percentile(ordered: list[float], percent: float) -> float:
    """The smallest value that at least `percent` of the ordered values do not exceed."""
    return ordered[max(0, -(-len(ordered) * int(percent * 100) // 10_000) - 1)]


def machine() -> dict[str, str]:
    """What the figures depend on."""
    return {
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "fsync of 4 KiB, median": f"{_fsync_ms():.2f} ms",
    }


def progress(line: str) -> None:
    """A line about what goes on, apart from the results."""
    print(line, file=sys.stderr, flush=True)


def _fsync_ms() -> float:
    CACHE.mkdir(parents=True, exist_ok=True)
    took: list[float] = []
    with tempfile.TemporaryDirectory(dir=CACHE) as directory, (Path(directory) / "fsync").open("wb") as file:
        for _ in range(200):
            file.write(bytes(4096))
            file.flush()
            before = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - before) * 1000)
    return statistics.median(took)
