"""The demonstration: real conversations are written to an engine, and every store is read back and reconciled.

The engine and the writers are processes of their own. On request the engine is killed at random moments of the
load and started again; the same equations must hold.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from afterwrite import open_data
from demonstration.checks import Check
from demonstration.course import Course
from demonstration.server_process import DemoEngine
from demonstration.stage import DemoFailed, Display, moments, perform
from manga_assist import app, conversations, keys, load, manifest, readback
from manga_assist.reconcile import reconcile

CONVERSATIONS: Final = 600
WRITERS: Final = 2
THREADS: Final = 8
BUFFER_S: Final = 5


def run(data: Path, size: int | None, crash: int, json: bool) -> int:
    """Replay `size` conversations in the new directory `data`, killing the engine `crash` times; 0 if all is equal.

    `data` gets the engine's data directory `engine`, its log, and the writers' manifests.
    """
    count = CONVERSATIONS if size is None else size
    return perform(data, lambda display: _play(data, count, crash, display), json=json)


def _play(data: Path, count: int, crashes: int, display: Display) -> list[Check]:
    chosen = conversations.load(load.MINIMUM_TURNS, count)
    turns = sum(len(conversation.turns) for conversation in chosen)
    writes = load.writes_planned(chosen)
    manifests = [data / f"written-{number}.jsonl" for number in range(WRITERS)]
    engine = DemoEngine(Path(app.__file__), data / "engine", {"MANGA_ASSIST_BUFFER_S": str(BUFFER_S)})
    course = Course(engine, display, writes)
    with ExitStack() as stack:
        stack.callback(engine.kill)
        engine.start()
        display.say(f"The engine listens on {engine.url}, its data is in {data / 'engine'}.")
        course.load(
            load.write_share,
            course.shares(manifests, app.sessions.name, THREADS, size=len(chosen)),
            course.crashes(moments(crashes, writes)),
            f"Writing {len(chosen)} conversations, {turns} turns",
        )
        written = list(manifest.read(manifests))
        if len(written) != len(chosen):
            raise DemoFailed(f"{len(chosen)} conversations were to be written, {len(written)} were")
        view = stack.enter_context(open_data(data / "engine"))
        course.settle(view)
        expiring = {keys.partition(session.session_id) for session in written if session.expires}

        def left() -> int:
            return len(expiring & {item["PK"] for item in view.items(app.sessions.name)})

        course.wait(
            view,
            "What follows: sessions expired",
            len(expiring),
            left=left,
            done=lambda: not left() and view.idle(),
        )
        engine.stop()
        display.say("Reading the stores back.")
        return reconcile(written, readback.read(view, data / "engine" / "files" / "outbox"))
