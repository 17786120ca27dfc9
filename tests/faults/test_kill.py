"""SIGKILL at random moments: no acknowledged write is lost, and no effect is lost or repeated."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bounds import BOUND_S
from engine_process import EngineUnderTest, wait_until
from faults.reconciliation import APP, check, settled
from server.clients import dynamodb_client

WRITERS = 4
KEYS = 5
KILLS = 4
WRITES_BEFORE_A_KILL = (50, 500)


class Writer(threading.Thread):
    """Writes ascending numbers to keys of its own; an answer that does not come is asked for again."""

    def __init__(self, name: str, url: str, up: threading.Event, stopping: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self.acknowledged: list[tuple[str, int]] = []
        self.attempted: set[tuple[str, int]] = set()
        self.failures: list[str] = []
        self._client = dynamodb_client(url, timeout_s=5)
        self._up = up
        self._stopping = stopping

    def run(self) -> None:
        number = 0
        while not self._stopping.is_set():
            number += 1
            writes = [(f"{self.name}-{number % KEYS}", number)]
            if number % 7 == 0:
                writes.append((f"{self.name}-{(number + 1) % KEYS}", number))
            self.attempted.update(writes)
            if self._write(writes):
                self.acknowledged.extend(writes)

    def _write(self, writes: list[tuple[str, int]]) -> bool:
        items: list[Any] = [{"pk": {"S": pk}, "sk": {"S": "s"}, "n": {"N": str(number)}} for pk, number in writes]
        while not self._stopping.is_set():
            try:
                if len(items) == 1:
                    self._client.put_item(TableName="things", Item=items[0])
                else:
                    puts: Any = [{"Put": {"TableName": "things", "Item": item}} for item in items]
                    self._client.transact_write_items(TransactItems=puts)
                return True
            except BotoCoreError:
                self._up.wait(BOUND_S)
            except ClientError as error:
                self.failures.append(str(error))
                return False
        return False


def written(writers: list[Writer]) -> int:
    return sum(len(writer.acknowledged) for writer in writers)


def test_nothing_acknowledged_is_lost_and_nothing_happens_twice(tmp_path: Path) -> None:
    moments = random.Random()
    up, stopping = threading.Event(), threading.Event()
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        up.set()
        writers = [Writer(f"w{number}", engine.url, up, stopping) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for _ in range(KILLS):
            enough = written(writers) + moments.randint(*WRITES_BEFORE_A_KILL)
            wait_until(lambda enough=enough: written(writers) >= enough, what="more writes")  # type: ignore[misc]
            up.clear()
            engine.kill()
            engine.start()
            up.set()
        stopping.set()
        for writer in writers:
            writer.join(BOUND_S)
            assert not writer.is_alive()
        settled(tmp_path / "data")
        assert engine.stop() == 0
    assert written(writers) > KILLS * WRITES_BEFORE_A_KILL[0]
    assert [failure for writer in writers for failure in writer.failures] == []
    changes = check(tmp_path / "data")
    logged = [(change.keys["pk"], int(change.new["n"])) for change in changes if change.new]
    # A write that was asked for again changes nothing the second time.
    assert len(set(logged)) == len(logged)
    acknowledged = {write for writer in writers for write in writer.acknowledged}
    assert acknowledged <= set(logged)
    assert set(logged) <= {write for writer in writers for write in writer.attempted}
    for writer in writers:
        mine = [number for pk, number in logged if pk.startswith(f"{writer.name}-")]
        assert mine == sorted(mine)


def test_a_stopped_engine_ends_with_zero_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with EngineUnderTest(APP, tmp_path / "data") as engine:
        engine.put("things", pk="p", sk="1")
        assert engine.stop() == 0
        engine.start()
        engine.put("things", pk="p", sk="2")
        settled(tmp_path / "data")
        assert engine.stop() == 0
    assert [change.keys["sk"] for change in check(tmp_path / "data")] == ["1", "2"]
