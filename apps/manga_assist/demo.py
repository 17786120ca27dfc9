"""The demonstration: real conversations are written to an engine, and every store is read back and reconciled.

The engine and the writers are processes of their own. On request the engine is killed at random moments of the
load and started again; the same equations must hold.
"""

from __future__ import annotations

import json as json_text
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from afterwrite import open_data
from manga_assist import app, conversations, keys, load, manifest, readback
from manga_assist.engine_process import EngineFailed, EngineProcess
from manga_assist.manifest import WrittenSession
from manga_assist.reconcile import Check, reconcile

WRITERS: Final = 2
THREADS: Final = 8
BUFFER_S: Final = 5
SETTLED_S_MAX: Final = 180.0
_POLL_S: Final = 0.1
_PLAIN_LINE_EVERY_S: Final = 5.0
_CRASH_SHARE_FIRST: Final = 0.03
_CRASH_SHARE_LAST: Final = 0.97


class DemoFailed(Exception):
    """The demonstration could not be brought to its end."""


def run(data: Path, conversations: int, crash: int, json: bool) -> int:
    """Replay `conversations` in the new directory `data`, killing the engine `crash` times; 0 if all is reconciled.

    `data` gets the engine's data directory `engine`, its log, and the writers' manifests.
    """
    if data.exists() and any(data.iterdir()):
        print(f"expected a new or empty directory, {data} holds files: choose another one", file=sys.stderr)
        return 2
    data.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        checks = _Demo(data, conversations, crash, _Display(quiet=json)).run()
    except (DemoFailed, EngineFailed) as error:
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


class _Demo:
    def __init__(self, data: Path, count: int, crashes: int, display: _Display) -> None:
        self._data = data
        self._display = display
        self._chosen = conversations.load(load.MINIMUM_TURNS, count)
        self._writes = load.writes_planned(self._chosen)
        self._crashes = crashes
        self._engine = EngineProcess(data / "engine", data / "engine.log", buffer_s=BUFFER_S)
        self._manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]

    def run(self) -> list[Check]:
        with ExitStack() as stack:
            stack.callback(self._engine.kill)
            self._engine.start()
            self._display.say(f"The engine listens on {self._engine.url}, its data is in {self._data / 'engine'}.")
            self._load(stack)
            written = list(manifest.read(self._manifests))
            if len(written) != len(self._chosen):
                raise DemoFailed(f"{len(self._chosen)} conversations were to be written, {len(written)} were")
            view = stack.enter_context(open_data(self._data / "engine"))
            self._settle(view, written)
            self._engine.stop()
            self._display.say("Reading the stores back.")
            return reconcile(written, readback.read(view, self._data / "engine" / "files" / "outbox"))

    def _load(self, stack: ExitStack) -> None:
        counters = [load.counter() for _ in range(WRITERS)]
        with load.uninterrupted():
            writers = [load.start(self._share(number), counter) for number, counter in enumerate(counters)]
            for writer in writers:
                stack.callback(writer.kill)
        turns = sum(len(conversation.turns) for conversation in self._chosen)
        what = f"Writing {len(self._chosen)} conversations, {turns} turns"
        crashes = sorted(random.uniform(_CRASH_SHARE_FIRST, _CRASH_SHARE_LAST) for _ in range(self._crashes))  # noqa: S311
        with self._display.progress(what, self._writes) as show:
            while any(writer.is_alive() for writer in writers):
                time.sleep(_POLL_S)
                done = _total(counters)
                show(done)
                if crashes and done >= crashes[0] * self._writes:
                    crashes.pop(0)
                    self._engine.kill()
                    self._display.say(f"Killed the engine after {done} writes and started it again.")
                    self._engine.start()
                self._engine.check()
                _check_writers(writers)
            show(_total(counters))
        _check_writers(writers)

    def _share(self, number: int) -> load.Share:
        return load.Share(
            number=number,
            of=WRITERS,
            endpoint_url=self._engine.url,
            table_name=app.sessions.name,
            conversations=len(self._chosen),
            threads=THREADS,
            manifest=self._manifests[number],
        )

    def _settle(self, view: Any, written: Sequence[WrittenSession]) -> None:
        """Wait until all that follows from the writes is done, expiry included."""
        expired = {keys.partition(session.session_id) for session in written if session.expires}
        deadline = time.monotonic() + SETTLED_S_MAX
        with self._display.progress("What follows: sessions expired", len(expired)) as show:
            while True:
                idle = view.idle()
                left = {item["PK"] for item in view.items(app.sessions.name)} & expired if idle else expired
                show(len(expired) - len(left))
                if idle and not left and view.idle():
                    return
                if time.monotonic() > deadline:
                    raise DemoFailed(
                        f"not all was done after {SETTLED_S_MAX:.0f} s: {len(left)} sessions have not expired, "
                        f"positions {view.positions()}, queues {_waiting(view)}"
                    )
                self._engine.check()
                time.sleep(_POLL_S)


def _waiting(view: Any) -> dict[str, tuple[int, int]]:
    return {name: depth for name, depth in view.depths().items() if any(depth)}


def _total(counters: Sequence[Synchronized[int]]) -> int:
    return sum(counter.value for counter in counters)


def _check_writers(writers: Sequence[SpawnProcess]) -> None:
    for writer in writers:
        if writer.exitcode not in (None, 0):
            raise DemoFailed(f"{writer.name} ended with {writer.exitcode}; its error is above")


class _Display:
    """A progress bar on a terminal, plain lines elsewhere, nothing where JSON is asked for."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(quiet=quiet, highlight=False)

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)

    def progress(self, what: str, total: int) -> _Bar | _Lines:
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
