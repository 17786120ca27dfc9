"""Chaos: MangaAssist on real conversations, with faults of every name at random and SIGKILL every few seconds.

Rounds follow each other for about AFTERWRITE_CHAOS_S seconds, each on a new data directory: conversations are
written while the faults happen, and items are imported in batches. Then the function that mails customers is mended,
which one session was poison to, what it gave up is redriven, and every store is read back and reconciled. A long run
has longer rounds. AFTERWRITE_CHAOS_SEED repeats a run's faults, if not its timing. Faults are installed on an engine of
one process; one more round is of an engine as users run it, and kills either of its processes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Final

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from afterwrite import open_data
from afterwrite.testing import (
    AnswerLost,
    At,
    ClockJump,
    Crash,
    DiskFull,
    Duplicate,
    EngineProcess,
    Fault,
    PartialBatch,
    Poison,
    Rejected,
    Reorder,
    Slow,
    Throttled,
)
from afterwrite.testing.faults import FAULTS
from bounds import BOUND_S
from demonstration import writers
from demonstration.certain_writes import dynamodb_client
from demonstration.shares import Share
from engine_process import wait_until
from manga_assist import app, conversations, keys, load, manifest, readback
from manga_assist.manifest import WrittenSession
from manga_assist.reconcile import reconcile

ORDINARY_S = 60.0
CHAOS_S = float(os.environ.get("AFTERWRITE_CHAOS_S") or ORDINARY_S)
SEED = int(os.environ.get("AFTERWRITE_CHAOS_SEED") or time.time_ns() % 1_000_000)
CONVERSATIONS_A_ROUND = 60 if CHAOS_S > ORDINARY_S else 12
KILL_EVERY_S = (1.0, 4.0)
WRITES_BETWEEN_KILLS = 30
POLL_S = 0.02
IMPORTED_TOGETHER: Final = 10
DEAD_LETTERS: Final = f"{app.customer_queue.name}-dead-letters"


def rules(poison: str) -> list[At]:
    """Every fault that an app is to survive, anywhere; a function's attempts bear few failures each.

    Mails are not written where the text `poison` is in the message.
    """

    def often(point: str, chance: float, *faults: Fault) -> list[At]:
        return [At(point, fault, chance=chance, times=None) for fault in faults]

    return [
        *often("function:*", 0.005, Throttled(), AnswerLost(), Duplicate(), Slow(0.2)),
        *often("deliveries:*", 0.2, Reorder()),
        *often("step:*", 0.01, Rejected(), AnswerLost(), Slow(0.05), DiskFull()),
        *often("flush:*", 0.05, Rejected(), AnswerLost(), DiskFull()),
        *often("commit", 0.002, DiskFull(), Slow(0.02)),
        *often("request:*", 0.003, Rejected(), Throttled(), AnswerLost(), Duplicate(), Slow(0.1)),
        At("request:*.BatchWriteItem", PartialBatch((0, 3)), chance=0.2, times=None),
        At("function:mail_customer", Poison(poison)),
        *[At("commit", ClockJump(seconds), chance=0.005, times=2) for seconds in (-40, 40)],
        At("step:*", Crash("before"), chance=0.02, times=1),
        At("step:*", Crash("after"), chance=0.02, times=1),
        At("commit", Crash("after"), chance=0.002, times=2),
        At("request:*", Crash("after"), chance=0.002, times=2),
        At("flush:*", Crash("before"), chance=0.1, times=1),
        At("flush:*", Crash("after"), chance=0.1, times=1),
    ]


class Killing(threading.Thread):
    """SIGKILL soon, and then every few seconds, until the load ends; `written` counts what was acknowledged."""

    def __init__(self, engine: EngineProcess, chance: random.Random, written: Synchronized[int]) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self._chance = chance
        self._written = written
        self._ended = threading.Event()
        self.kills = 0

    def run(self) -> None:
        while self._gets_on() and not self._ended.wait(self._chance.uniform(*KILL_EVERY_S) if self.kills else 0.0):
            with suppress(ProcessLookupError):
                os.kill(self._chance.choice(self._engine.pids), signal.SIGKILL)
                self.kills += 1

    def _gets_on(self) -> bool:
        """Wait until something was done since the last kill, however long a start takes; False where the load ends."""
        enough = self._written.value + WRITES_BETWEEN_KILLS
        while self._written.value < enough:
            if self._ended.wait(POLL_S):
                return False
        return True

    def end(self) -> None:
        self._ended.set()
        self.join()


class Importing(threading.Thread):
    """Items put in batches, each item until it is acknowledged, until the load ends."""

    def __init__(self, endpoint_url: str) -> None:
        super().__init__(daemon=True)
        self._client = dynamodb_client(endpoint_url, 1)
        self._ended = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        while not self._ended.wait(POLL_S):
            first = len(self.acknowledged)
            numbers = [f"{first + number:08}" for number in range(IMPORTED_TOGETHER)]
            left: list[Any] = [{"PutRequest": {"Item": {"PK": {"S": "IMPORT"}, "SK": {"S": each}}}} for each in numbers]
            while left:
                with suppress(BotoCoreError, ClientError):  # as whoever imports does: once more
                    answer = self._client.batch_write_item(RequestItems={app.operations.name: left})
                    left = answer["UnprocessedItems"].get(app.operations.name, [])
            self.acknowledged += numbers

    def end(self) -> None:
        self._ended.set()
        self.join()


def round_of(data: Path, seed: int, *, with_faults: bool) -> tuple[Counter[str], int]:
    """Write conversations while faults happen, and reconcile; the faults that happened, and how many writes were."""
    data.mkdir()
    chosen = conversations.load(load.MINIMUM_TURNS, CONVERSATIONS_A_ROUND)
    plans = [load.plan(number, len(each.turns)) for number, each in enumerate(chosen)]
    poisoned, handoffs = next(
        (each.id, plan.handoffs) for each, plan in zip(chosen, plans, strict=True) if plan.handoffs
    )
    faults = rules(poisoned) if with_faults else []
    environment = {"MANGA_ASSIST_BUFFER_S": "1"}
    with EngineProcess(Path(app.__file__), data / "engine", faults, seed=seed, environment=environment) as engine:
        written_count = writers.counter()
        share = Share(
            number=0,
            of=1,
            endpoint_url=engine.url,
            table_name=app.sessions.name,
            size=len(chosen),
            threads=8,
            manifest=data / "written.jsonl",
        )
        killing = Killing(engine, random.Random(seed), written_count)
        importing = Importing(engine.url)
        killing.start()
        importing.start()
        load.write_share(share, written_count)
        killing.end()
        importing.end()
        written = list(manifest.read([share.manifest]))
        assert len(written) == len(chosen)
        with open_data(data / "engine") as view:
            settle(engine, view, written)
            assert sum(view.depths().get(DEAD_LETTERS, ())) == len(handoffs) * with_faults
    with EngineProcess(Path(app.__file__), data / "engine", environment=environment) as mended:
        if with_faults:
            redrive(data / "engine")
        with open_data(data / "engine") as view:
            settle(mended, view, written)
            mended.stop()
            imported = [item["SK"] for item in view.items(app.operations.name) if item["PK"] == "IMPORT"]
            checks = reconcile(written, readback.read(view, data / "engine" / "files" / "outbox"))
    assert sorted(imported) == importing.acknowledged
    assert [(check.name, check.difference) for check in checks if not check.ok] == [], f"seed {seed}"
    return engine.happened + Counter({"SIGKILL": killing.kills}), written_count.value


def redrive(data: Path) -> None:
    """Let what was given up run again, as an operator does."""
    command = [sys.executable, "-m", "afterwrite", "parked", "redrive", "--all", "--data", str(data)]
    subprocess.run(command, check=True, timeout=BOUND_S)


def settle(engine: EngineProcess, view: Any, written: Sequence[WrittenSession]) -> None:
    """Wait until all that follows from the writes is done, expiry included."""
    expired = {keys.partition(session.session_id) for session in written if session.expires}

    def settled() -> bool:
        engine.check()
        left = {item["PK"] for item in view.items(app.sessions.name)} & expired
        return not left and view.idle()

    wait_until(settled, bound_s=BOUND_S, what="the engine's rest")


@pytest.mark.timeout(CHAOS_S + 600)
def test_everything_is_there_once_whatever_breaks(tmp_path: Path) -> None:
    began_s, took_s, rounds, writes = time.monotonic(), 0.0, 0, 0
    survived: Counter[str] = Counter()
    # On a busy machine a round takes long: another one begins where the end is nearer with it than without.
    while rounds == 0 or took_s * (rounds + 0.5) / rounds < CHAOS_S:
        rounds += 1
        happened, written = round_of(tmp_path / f"round-{rounds}", SEED + rounds, with_faults=True)
        survived += happened
        writes += written
        took_s = time.monotonic() - began_s
    assert survived["SIGKILL"] + survived["Crash"] > 0
    if CHAOS_S > ORDINARY_S:
        assert {fault.__name__ for fault in FAULTS} <= survived.keys()
    counts = ", ".join(f"{count} {name}" for name, count in survived.most_common())
    print(f"\nseed {SEED}: {rounds} rounds, {writes} transactions, {sum(survived.values())} faults survived: {counts}")


def test_everything_is_there_once_whichever_process_is_killed(tmp_path: Path) -> None:
    survived, writes = round_of(tmp_path / "round", SEED, with_faults=False)
    assert survived["SIGKILL"] > 0
    print(f"\nseed {SEED}: {writes} transactions, {survived['SIGKILL']} kills of one process or the other survived")
