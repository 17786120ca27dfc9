"""Writers that go on over kills of the engine."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from bounds import BOUND_S
from engine_process import EngineUnderTest, wait_until
from server.clients import dynamodb_client

KEYS = 5


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


def written(writers: Sequence[Writer]) -> int:
    return sum(len(writer.acknowledged) for writer in writers)


def write_through_kills(
    engine: EngineUnderTest, count: int, kills: int, writes_before_a_kill: tuple[int, int]
) -> list[Writer]:
    """Have `count` writers write while the engine is killed at random moments; the writers, when all have ended."""
    up, stopping = threading.Event(), threading.Event()
    up.set()
    writers = [Writer(f"w{number}", engine.url, up, stopping) for number in range(count)]
    for writer in writers:
        writer.start()
    for _ in range(kills):
        enough = written(writers) + random.randint(*writes_before_a_kill)
        wait_until(lambda enough=enough: written(writers) >= enough, what="more writes")  # type: ignore[misc]
        up.clear()
        engine.kill()
        engine.start()
        up.set()
    stopping.set()
    for writer in writers:
        writer.join(BOUND_S)
        assert not writer.is_alive()
    return writers
