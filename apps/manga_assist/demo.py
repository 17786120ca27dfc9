"""The demonstration: real conversations are written to an engine, and every store is read back and reconciled.

The engine and the writers are processes of their own. On request the engine is killed at random moments of the
load and started again; the same equations must hold.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from afterwrite import open_data
from demonstration.checks import Check
from demonstration.engine_process import EngineProcess
from demonstration.stage import DemoFailed, Display, moments, perform
from demonstration.writers import Writers
from manga_assist import app, conversations, keys, load, manifest, readback
from manga_assist.manifest import WrittenSession
from manga_assist.reconcile import reconcile

CONVERSATIONS: Final = 600
WRITERS: Final = 2
THREADS: Final = 8
BUFFER_S: Final = 5
SETTLED_S_MAX: Final = 180.0
_POLL_S: Final = 0.1


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Replay `size` conversations in the new directory `data`, killing the engine `crash` times; 0 if all is equal.

    `data` gets the engine's data directory `engine`, its log, and the writers' manifests.
    """
    count = CONVERSATIONS if size is None else size
    return perform(data, lambda display: _Demo(data, count, crash, display).run(), json=json)


class _Demo:
    def __init__(self, data: Path, count: int, crashes: int, display: Display) -> None:
        self._data = data
        self._display = display
        self._chosen = conversations.load(load.MINIMUM_TURNS, count)
        self._writes = load.writes_planned(self._chosen)
        self._crashes = moments(crashes, self._writes)
        settings = {"MANGA_ASSIST_BUFFER_S": str(BUFFER_S)}
        self._engine = EngineProcess(Path(app.__file__), data / "engine", data / "engine.log", settings)
        self._manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]

    def run(self) -> list[Check]:
        with ExitStack() as stack:
            stack.callback(self._engine.kill)
            self._engine.start()
            self._display.say(f"The engine listens on {self._engine.url}, its data is in {self._data / 'engine'}.")
            self._load()
            written = list(manifest.read(self._manifests))
            if len(written) != len(self._chosen):
                raise DemoFailed(f"{len(self._chosen)} conversations were to be written, {len(written)} were")
            view = stack.enter_context(open_data(self._data / "engine"))
            self._settle(view, written)
            self._engine.stop()
            self._display.say("Reading the stores back.")
            return reconcile(written, readback.read(view, self._data / "engine" / "files" / "outbox"))

    def _load(self) -> None:
        turns = sum(len(conversation.turns) for conversation in self._chosen)
        what = f"Writing {len(self._chosen)} conversations, {turns} turns"
        shares = [self._share(number) for number in range(WRITERS)]
        with Writers(load.write_share, shares) as writers, self._display.progress(what, self._writes) as show:
            while writers.at_work():
                time.sleep(_POLL_S)
                show(writers.written)
                if self._crashes and writers.written >= self._crashes[0]:
                    self._crashes.pop(0)
                    self._engine.kill()
                    self._display.say(f"Killed the engine after {writers.written} writes and started it again.")
                    self._engine.start()
                self._engine.check()
            show(writers.written)

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
