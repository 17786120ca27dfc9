"""The handler behind a faithful event source mapping of a table: what its effects are through every fault.

Each test writes a table's changes, draws faults, and computes from both what must happen. Records that are *poison*
fail in their route whenever they are tried, those that *fail* fail at the target, for so many deliveries; an
invocation *crashes* or *times out* with its effects performed and its answer lost, or *never begins*.
"""

from __future__ import annotations

import base64
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

import orjson
import pytest

from afterwrite import App, aws_lambda
from afterwrite.core.changes import Change
from afterwrite.core.event_source_mapping.parameters import EventSourceMappingParameters
from afterwrite.core.lane_runs import POLICY
from afterwrite.core.target_failures import DELIVERIES_MAX
from aws_servers import AwsServer, ask
from aws_tables import create_table
from bounds import BOUND_S
from faulty_proxy import Fault, FaultyProxy, faulty_proxy
from mapped import Mapped

Interruption: TypeAlias = Literal["crashes", "times out", "never begins"]

Value = TypeVar("Value")

TIMEOUT_S: Final = 60
_stream_numbers = itertools.count()


@dataclass(frozen=True)
class Faults:
    """Changes are known by their numbers, invocations too; both count from 1."""

    poison: frozenset[int] = frozenset()
    fails: Mapping[int, int] = field(default_factory=dict)
    interrupted: Mapping[int, Interruption] = field(default_factory=dict)


@dataclass
class Prediction:
    """What the changes and their faults must lead to, by S1, S5 and S6, and by the ledger's promise where there is one.

    `sent` counts how often each change's effect is performed.
    """

    keys: Mapping[int, str]
    faults: Faults
    mapping: EventSourceMappingParameters
    keeps_ledger: bool
    sent: Counter[int] = field(default_factory=Counter)
    given_up: set[int] = field(default_factory=set)
    parked: dict[str, set[int]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    _done: set[int] = field(default_factory=set)
    _failed: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for batch in portions(tuple(self.keys), self.mapping["BatchSize"]):
            self._deliver(batch)

    def _deliver(self, batch: tuple[int, ...]) -> None:
        """A batch, until nothing of it is left: from the lowest failure on it comes again (S1)."""
        pieces = [(batch, 0)]
        while pieces:
            numbers, retries = pieces.pop(0)
            failed_from = self._invoke(numbers)
            if failed_from is None:
                continue
            if failed_from > 0:
                pieces.insert(0, (numbers[failed_from:], 0))
            elif self.mapping["BisectBatchOnFunctionError"] and len(numbers) > 1:
                middle = len(numbers) // 2
                pieces[:0] = [(numbers[:middle], retries), (numbers[middle:], retries)]
            elif retries == self.mapping["MaximumRetryAttempts"]:
                self.given_up.update(numbers)
            else:
                pieces.insert(0, (numbers, retries + 1))

    def _invoke(self, numbers: tuple[int, ...]) -> int | None:
        """One invocation: the place of the lowest failure that the mapping is told of."""
        self.sizes.append(len(numbers))
        interruption = self.faults.interrupted.get(len(self.sizes))
        if interruption == "never begins":
            return 0
        waiting: dict[str, list[int]] = {}
        settled: list[int] = []
        for number in numbers:
            key = self.keys[number]
            if number in self._done:
                continue
            if key in self.parked:
                self.parked[key].add(number)
                settled.append(number)
            elif key in waiting or self._fails(number):
                waiting.setdefault(key, []).append(number)
            else:
                self.sent[number] += 1
                settled.append(number)
        again: list[int] = []
        for key, behind in waiting.items():
            if self.keeps_ledger and (behind[0] in self.faults.poison or self._failed[behind[0]] == DELIVERIES_MAX):
                self.parked[key] = set(behind)
                settled += behind
            else:
                again += behind
        if self.keeps_ledger and again:
            self._done.update(number for number in settled if number > min(again))
        if interruption is not None:
            return 0
        return numbers.index(min(again)) if again else None

    def _fails(self, number: int) -> bool:
        if number in self.faults.poison:
            return True
        if self._failed[number] == self.faults.fails.get(number, 0):
            return False
        self._failed[number] += 1
        return True


def portions(values: tuple[Value, ...], size: int) -> Iterator[tuple[Value, ...]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]


class Shop:
    """An app behind the handler, its effects in a Kinesis stream; and the mapping that runs the handler."""

    def __init__(self, server: AwsServer, proxy: FaultyProxy, path: Path, faults: Faults) -> None:
        self._kinesis, self._dynamodb = server.client("kinesis"), server.client("dynamodb")
        self._stream = f"numbers-{next(_stream_numbers)}"
        self._kinesis.create_stream(StreamName=self._stream, ShardCount=1)
        described = self._kinesis.describe_stream_summary(StreamName=self._stream)["StreamDescriptionSummary"]
        self.resources: dict[str, str] = {"delivery_stream/numbers": described["StreamARN"]}
        self.sizes: list[int] = []
        self._faults = faults
        self._failures = path / "files" / "failures"
        app = App("shop")
        things, numbers = app.table("things", partition_key="pk", sort_key="sk"), app.delivery_stream("numbers")

        @things.on()
        def send_number(change: Change) -> Any:
            number = int(change.keys["sk"])
            if number in faults.poison:
                raise ValueError("poison")
            return numbers.put(key=change.keys["pk"], number=number)

        self.app = app
        self._now_s = 0.0
        self._stuck = threading.Event()
        attempts = {number: deliveries * POLICY.attempts_max for number, deliveries in faults.fails.items()}

        def fault_of(entry: str) -> Fault | None:
            number = orjson.loads(base64.b64decode(orjson.loads(entry)["Data"]))["number"]
            if attempts.get(number, 0) == 0:
                return None
            attempts[number] -= 1
            return "fails"

        proxy.fault_of = fault_of

    def keep_journal(self) -> None:
        """Give it a ledger and a table for parked lanes."""
        self.resources["ledger"] = create_table(self._dynamodb, "pk")
        self.resources["parked"] = create_table(self._dynamodb, "pk", "sk")

    def run(self, keys: Mapping[int, str], path: Path, mapping: EventSourceMappingParameters) -> None:
        """Write the changes, and deliver them all."""
        mapped_app = App("mapped")
        things = mapped_app.table("things", partition_key="pk", sort_key="sk")
        whole: EventSourceMappingParameters = {
            "FunctionName": "routes",
            "MaximumBatchingWindowInSeconds": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}},
            **mapping,
        }
        things.event_source_mapping(self._function(), timeout_s=TIMEOUT_S, **whole)
        mapped = Mapped(mapped_app, path)
        items = [{"pk": {"S": key}, "sk": {"S": str(number)}} for number, key in keys.items()]
        for some in portions(tuple(items), 25):
            mapped.dynamo("BatchWriteItem", RequestItems={"things": [{"PutRequest": {"Item": item}} for item in some]})
        work = mapped.work(things, monotonic_s=lambda: self._now_s)
        mapped.deliver(work, wait_s=120)
        self._stuck.set()
        work.stop(wait_s=5)
        mapped.environment.close()

    def _function(self) -> Callable[[Any, Any], Any]:
        environ = {"AFTERWRITE_RESOURCES": orjson.dumps(self.resources).decode()}
        process = aws_lambda.handler(self.app, environ=environ)

        def handle(event: Any, context: Any) -> Any:
            nonlocal process
            self._stuck.set()
            stuck = self._stuck = threading.Event()
            self.sizes.append(len(event["Records"]))
            interruption = self._faults.interrupted.get(len(self.sizes))
            answer = None if interruption == "never begins" else process(event, context)
            if interruption is not None:
                process = aws_lambda.handler(self.app, environ=environ)  # the interrupted one is gone
            if interruption == "crashes":
                raise MemoryError
            if interruption is not None:
                self._now_s += TIMEOUT_S + 1
                stuck.wait(BOUND_S)
            return answer

        return handle

    def sent(self) -> list[tuple[str, int]]:
        """Key and number of each effect, in their order."""
        iterator = self._kinesis.get_shard_iterator(
            StreamName=self._stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        found: list[tuple[str, int]] = []
        while True:
            answer = self._kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            rows = [orjson.loads(record["Data"]) for record in answer["Records"]]
            found += [(row["key"], row["number"]) for row in rows]
            iterator = answer["NextShardIterator"]
            if not rows and not answer["MillisBehindLatest"]:
                return found

    def parked(self) -> set[int]:
        """The numbers of the changes that are parked."""
        if "parked" not in self.resources:
            return set()
        from afterwrite.aws_wiring import now_ms
        from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes

        lanes = DynamoDBParkedLanes(lambda: self._dynamodb, self.resources["parked"], now_ms=now_ms)
        return {
            int(each.change.keys["sk"])
            for consumer, lane, _ in lanes.lanes()
            for each in lanes.parked(consumer, lane, after=-1, limit=1_000, bytes_max=1 << 30)
        }

    def given_up(self) -> set[int]:
        """The numbers of the changes that the failure destination has."""
        messages = [orjson.loads(path.read_bytes()) for path in self._failures.rglob("*") if path.is_file()]
        records = [record for message in messages for record in orjson.loads(message["payload"])["Records"]]
        return {int(record["dynamodb"]["Keys"]["sk"]["S"]) for record in records}


@pytest.fixture
def kinesis_proxy(dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Before our own engine, which the handler's requests go to; a retry waits for the shortest time."""
    with faulty_proxy(dynamodb_url) as proxy:
        ask(monkeypatch, proxy.url, dynamodb=dynamodb_url)
        monkeypatch.setattr(random, "random", lambda: 0.0)
        yield proxy


def drawn(seed: int, count: int, lanes: int) -> tuple[dict[int, str], Faults]:
    """Changes of lanes, and faults of every kind among them."""
    draw = random.Random(seed)
    keys = {number: f"key-{draw.randrange(lanes)}" for number in range(1, count + 1)}
    chosen = draw.sample(range(1, count + 1), 6)
    fails = {chosen[0]: 1, chosen[1]: 2, chosen[2]: 3, chosen[3]: DELIVERIES_MAX + 50}
    kinds: tuple[Interruption, ...] = ("crashes", "times out", "never begins")
    interrupted = dict(zip(draw.sample(range(1, 9), 3), kinds, strict=True))
    return keys, Faults(frozenset(chosen[4:]), fails, interrupted)


def parameters(batch_size: int, *, bisects: bool, retries: int) -> EventSourceMappingParameters:
    return {"BatchSize": batch_size, "BisectBatchOnFunctionError": bisects, "MaximumRetryAttempts": retries}


def check(shop: Shop, predicted: Prediction) -> None:
    """What is in the stores is what was predicted, and the guarantees hold."""
    sent = shop.sent()
    assert shop.sizes == predicted.sizes, "the batches of S1, S5 and S6"
    assert Counter(number for _, number in sent) == predicted.sent
    assert shop.given_up() == predicted.given_up
    assert shop.parked() == set().union(*predicted.parked.values())
    # Nothing is dropped: every change has its effect, or is kept for an operator with its payload.
    assert {number for _, number in sent} | shop.given_up() | shop.parked() == set(predicted.keys)
    by_key: dict[str, dict[int, None]] = {}
    for key, number in sent:
        by_key.setdefault(key, {})[number] = None
    for numbers in by_key.values():
        assert list(numbers) == sorted(numbers), "a lane's effects are first performed in its order"


@pytest.mark.parametrize(("seed", "bisects"), [(1, True), (2, False)])
def test_without_a_ledger_effects_are_repeated_as_often_as_the_checkpoints_say_s1_s5_s6(
    dynamodb_url: str, kinesis_proxy: FaultyProxy, tmp_path: Path, seed: int, bisects: bool
) -> None:
    keys, faults = drawn(seed, 100, 12)
    mapping = parameters(30, bisects=bisects, retries=2)
    shop = Shop(AwsServer("ours", dynamodb_url), kinesis_proxy, tmp_path, faults)
    shop.run(keys, tmp_path, mapping)
    predicted = Prediction(keys, faults, mapping, keeps_ledger=False)
    check(shop, predicted)
    assert predicted.sent.total() > len(predicted.sent), "effects were repeated"
    assert predicted.given_up


@pytest.mark.parametrize("seed", [1, 2])
def test_with_the_ledger_only_a_lost_answer_repeats_effects_and_a_failing_lane_is_parked_s1(
    dynamodb_url: str, kinesis_proxy: FaultyProxy, tmp_path: Path, seed: int
) -> None:
    keys, faults = drawn(seed, 100, 12)
    mapping = parameters(30, bisects=True, retries=10)
    shop = Shop(AwsServer("ours", dynamodb_url), kinesis_proxy, tmp_path, faults)
    shop.keep_journal()
    shop.run(keys, tmp_path, mapping)
    predicted = Prediction(keys, faults, mapping, keeps_ledger=True)
    check(shop, predicted)
    assert not predicted.given_up
    assert predicted.parked
    assert set(predicted.parked) <= {keys[number] for number in (*faults.poison, *faults.fails)}, "and no other lane"
    uninterrupted = Prediction(keys, Faults(faults.poison, faults.fails), mapping, keeps_ledger=True)
    assert set(uninterrupted.sent.values()) == {1}


@pytest.mark.parametrize("keeps_ledger", [False, True])
def test_batches_of_10_000_records(
    dynamodb_url: str, kinesis_proxy: FaultyProxy, tmp_path: Path, keeps_ledger: bool
) -> None:
    keys = {number: f"k{number % 3_000}" for number in range(1, 10_501)}
    faults = Faults(frozenset({9_980}), {9_000: 1}, {2: "crashes"})
    mapping = parameters(10_000, bisects=True, retries=10)
    shop = Shop(AwsServer("ours", dynamodb_url), kinesis_proxy, tmp_path, faults)
    if keeps_ledger:
        shop.keep_journal()
    shop.run(keys, tmp_path, mapping)
    predicted = Prediction(keys, faults, mapping, keeps_ledger=keeps_ledger)
    check(shop, predicted)
    assert shop.sizes[:2] == [10_000, 1_001]
    if keeps_ledger:
        assert +(predicted.sent - Counter(dict.fromkeys(keys, 1))) == {9_000: 1}, (
            "the one that the lost answer was about"
        )
    else:
        assert predicted.sent.total() > 12_000
