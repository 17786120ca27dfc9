"""A demonstration's frame: a new directory, what goes on shown on the way, and the verdict at the end."""

from __future__ import annotations

import json as json_text
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from afterwrite import AfterwriteError
from demonstration.checks import Check
from demonstration.writers import WriterFailed

_PLAIN_LINE_EVERY_S: Final = 5.0
_MOMENT_FIRST: Final = 0.03
_MOMENT_LAST: Final = 0.97


class DemoFailed(Exception):
    """The demonstration could not be brought to its end."""


def perform(data: Path, play: Callable[[Display], list[Check]], *, json: bool) -> int:
    """Play in the new directory `data`, with the engine's data in its folder `engine`; 0 if every equation holds.

    Raises AfterwriteError for a directory that holds files.
    """
    if data.exists() and any(data.iterdir()):
        raise AfterwriteError(f"expected a new or empty directory, {data} holds files: choose another one")
    data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        checks = play(Display(quiet=json))
    except (DemoFailed, WriterFailed) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return 130
    ok = all(check.ok for check in checks)
    took_s = time.monotonic() - began
    if json:
        print(json_text.dumps({"ok": ok, "took_s": round(took_s, 1), "checks": [_as_json(c) for c in checks]}))
    else:
        _show(checks, took_s)
        print(f"The data is in {data}, the engine's in {data / 'engine'}. Look at it:")
        print(f"  afterwrite status --data {data / 'engine'}")
    return 0 if ok else 1


def moments(count: int, total: int) -> list[int]:
    """When, of `total` writes, something is to go wrong: `count` random moments of the load, in order."""
    return sorted(int(random.uniform(_MOMENT_FIRST, _MOMENT_LAST) * total) for _ in range(count))  # noqa: S311


class Display:
    """A progress bar on a terminal, plain lines elsewhere, nothing where JSON is asked for."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False)

    def say(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, markup=False, soft_wrap=True)

    def progress(self, what: str, total: int) -> _Bar | _Lines:
        """A context that is called with how much of `total` is done."""
        return _Bar(self._console, what, total) if self._console.is_terminal else _Lines(self._console, what, total)


class _Bar:
    def __init__(self, console: Console, what: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task: TaskID = self._progress.add_task(what, total=total)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int) -> None:
        self._progress.update(self._task, completed=done)


class _Lines:
    def __init__(self, console: Console, what: str, total: int) -> None:
        self._console = console
        self._what = what
        self._total = total
        self._next = 0.0
        self._shown = -1
        self._done = 0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *_: object) -> None:
        if self._done != self._shown:
            self._print()

    def __call__(self, done: int) -> None:
        self._done = done
        if done != self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + _PLAIN_LINE_EVERY_S
            self._print()

    def _print(self) -> None:
        self._shown = self._done
        self._console.print(f"{self._what}: {self._done} of {self._total}", markup=False)


def _show(checks: Sequence[Check], took_s: float) -> None:
    console = Console(highlight=False)
    table = Table(title="Read back from the stores")
    table.add_column("what must be equal")
    table.add_column("expected", justify="right")
    table.add_column("found", justify="right")
    table.add_column("")
    for check in checks:
        verdict = "[green]ok[/green]" if check.ok else "[red]differs[/red]"
        table.add_row(check.name, str(check.expected), str(check.found), verdict)
    console.print(table)
    for check in checks:
        if not check.ok:
            console.print(f"{check.name}: {check.difference or 'not the same'}", markup=False)
    failed = sum(not check.ok for check in checks)
    verdict = "Everything is there, once." if not failed else f"{failed} of {len(checks)} checks differ."
    console.print(f"{verdict} Took {took_s:.0f} s.", markup=False)


def _as_json(check: Check) -> dict[str, Any]:
    return {field: getattr(check, field) for field in Check.__slots__}
