"""Every operation over the wire at 1, 16 and 64 connections: answers a second, ours and the peers', in turns.

All of them work on a table with a stream, where they have streams. Each operation is tried before its rows, its
answers are checked by status while it is measured and one by its content after each round, and of the items that
writes acknowledged some partitions are counted.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import engine, peers, templates
from bench.cache import CACHE
from bench.chat import texts
from bench.load import in_own_process
from bench.processes import Unavailable
from bench.report import Figure, progress
from bench.templates import PARTITIONS, STORED, TABLE, TEXTS, Body, partition
from bench.wire import DYNAMODB, STREAMS, Connection, System, create_table
from bench.wrk import Driven, drive, generator

ROUNDS = 2
CONNECTIONS = (1, 16, 64)
WARM_UP_S = 1
CHANGES = "bench-changes"
# Some count a megabyte of records as it is stored and others as JSON: with this a thousand fit either way.
CHANGE_LENGTH = 200
RECORDS = 1000
COUNTED = 20
# Where answers take so long that few came, a longer run says more.
LONGER_S = 8
SETTLING_S_MAX = 4.0
NATIVE = "put_many in the process, items"


def _is_stored(item: dict[str, Any], text_length: int | None = None) -> bool:
    number = int(item["SK"]["S"].removeprefix("TURN#"))
    key = {"S": partition(templates.STORED_RUN, number % PARTITIONS)}
    text = texts(TEXTS)[number % TEXTS][:text_length]
    return bool(item["PK"] == key and item["content"] == {"S": text})


def _is_partition(items: list[dict[str, Any]]) -> bool:
    return len(items) == STORED // PARTITIONS and all(map(_is_stored, items))


def _right_records(answer: dict[str, Any]) -> bool:
    images = [record["dynamodb"]["NewImage"] for record in answer["Records"] if record["eventName"] == "INSERT"]
    return len(images) == RECORDS and all(_is_stored(image, CHANGE_LENGTH) for image in images)


@dataclass(frozen=True)
class Operation:
    """An operation, what it sends in a run, what a right answer is, and how many items a request adds."""

    name: str
    bodies: Callable[[str], list[Body]]
    right: Callable[[dict[str, Any]], bool]
    items: int = 0
    api: str = DYNAMODB


OPERATIONS = (
    Operation("PutItem", templates.put_item, lambda answer: answer == {}, items=1),
    Operation("GetItem", templates.get_item, lambda answer: _is_stored(answer["Item"])),
    Operation("UpdateItem", templates.update_item, lambda answer: answer == {}),
    Operation("Query", templates.query, lambda answer: _is_partition(answer["Items"])),
    Operation(
        "BatchWriteItem", templates.batch_write_item, lambda answer: answer == {"UnprocessedItems": {}}, items=25
    ),
    Operation("TransactWriteItems", templates.transact_write_items, lambda answer: answer == {}, items=2),
    Operation("GetRecords", lambda iterator: [_records_body(iterator)], _right_records, api=STREAMS),
)
TITLES = {
    "UpdateItem": "UpdateItem, condition",
    "Query": "Query of 50 items",
    "BatchWriteItem": "BatchWriteItem of 25",
    "TransactWriteItems": "TransactWriteItems of 4",
    "GetRecords": "GetRecords of 1,000",
}


@dataclass(frozen=True)
class _Candidate:
    """A running system, with its stream's ARN and the shard that is read, where it has streams."""

    system: System
    arn: str | None
    shard_id: str | None


def measure(seconds: float) -> Figure:
    """All operations in alternating rounds of whole seconds, `seconds` together for each cell of the table."""
    figure = Figure(f"Answers a second, one request under way on each connection, load by {generator()}", engine.NAME)
    round_s = max(1, round(seconds / ROUNDS))
    measured: list[dict[str, dict[str, float]]] = [{} for _ in range(ROUNDS)]
    with contextlib.ExitStack() as stack:
        candidates = _candidates(figure, stack)
        for operation in OPERATIONS:
            for candidate in candidates:
                _measure(figure, candidate, operation, WARM_UP_S, "warm", 16)
            for connections, number in itertools.product(CONNECTIONS, range(ROUNDS)):
                for candidate in candidates:
                    rate = _measure(figure, candidate, operation, round_s, f"round{number}", connections)
                    if rate is not None:
                        row = f"{TITLES.get(operation.name, operation.name)}, {connections:>2}"
                        measured[number].setdefault(candidate.system.name, {})[row] = rate
    for number in range(ROUNDS):
        measured[number].setdefault(engine.NAME, {})[NATIVE] = in_own_process(native_puts, float(round_s))
        for name, rows in measured[number].items():
            figure.add(name, rows)
    return figure


def native_puts(seconds: float) -> float:
    """Durable puts a second through put_many, by one thread in the engine's process."""
    from afterwrite import App, open_engine

    app = App("bench-native")
    turns = app.table(TABLE, partition_key="PK", sort_key="SK")
    passages = texts(TEXTS)

    def items() -> Iterator[dict[str, Any]]:
        deadline = time.perf_counter() + seconds
        for number, text in enumerate(itertools.cycle(passages)):
            if time.perf_counter() >= deadline:
                return
            keys = {"PK": partition("native", number % PARTITIONS), "SK": f"TURN#{number:012d}"}
            yield {**keys, "role": "customer", "created_at_ms": 1767225600000, "content": text}

    with (
        tempfile.TemporaryDirectory(dir=CACHE, prefix="native-") as directory,
        open_engine(Path(directory) / "data", app) as opened,
    ):
        table = opened.table(turns)
        started = time.perf_counter()
        count = table.put_many(items())
        took_s = time.perf_counter() - started
        last = count - 1
        found = table.get({"PK": partition("native", last % PARTITIONS), "SK": f"TURN#{last:012d}"})
    if found is None or found["content"] != passages[last % len(passages)]:
        raise RuntimeError(f"expected the item {last} of {count} that put_many acknowledged, got {found}")
    return count / took_s


def _candidates(figure: Figure, stack: contextlib.ExitStack) -> list[_Candidate]:
    starts: dict[str, Callable[[], System]] = {
        engine.NAME: lambda: stack.enter_context(engine.afterwrite(None)).system,
        "ministack": lambda: stack.enter_context(peers.ministack()),
        "DynamoDB Local": lambda: stack.enter_context(peers.dynamodb_local()),
        "roto-aws (in memory)": lambda: stack.enter_context(peers.roto(durable=False)),
        "roto-aws (durable)": lambda: stack.enter_context(peers.roto(durable=True)),
    }
    candidates: list[_Candidate] = []
    for name, start in starts.items():
        try:
            candidates.append(_filled(start()))
        except Unavailable as reason:
            figure.leave_out(name, str(reason))
    return candidates


def _filled(system: System) -> _Candidate:
    """The system with its tables and what they hold at first."""
    progress(f"filling {system.name}")
    create_table(system, TABLE, stream=True)
    arn = create_table(system, CHANGES, stream=True)
    with Connection(system) as connection:
        for table, count in ((TABLE, STORED), (CHANGES, 4 * RECORDS)):
            bodies = templates.batch_write_item(
                templates.STORED_RUN, table, CHANGE_LENGTH if table == CHANGES else None
            )
            written = [templates.template(system, "BatchWriteItem", body) for body in bodies]
            for request in itertools.islice(templates.filled(written), count // 25):
                status, answer = connection.send(request)
                if status != 200 or json.loads(answer)["UnprocessedItems"]:
                    raise RuntimeError(f"{system.name} answered BatchWriteItem with {status}: {answer[:300]!r}")
        return _Candidate(system, arn, _full_shard(connection, arn))


def _full_shard(connection: Connection, arn: str | None) -> str | None:
    """A shard that has RECORDS records; None from a system without streams."""
    try:
        description = connection.call("DescribeStream", {"StreamArn": arn}, STREAMS)["StreamDescription"]
    except RuntimeError:
        return None
    shard_ids: list[str] = [shard["ShardId"] for shard in description["Shards"]]
    for shard_id in shard_ids:
        answer = connection.call("GetRecords", _records_body(_iterator(connection, arn, shard_id)), STREAMS)
        if len(answer["Records"]) == RECORDS:
            return shard_id
    raise RuntimeError(f"expected a shard with {RECORDS} records, found none in {description}")


def _iterator(connection: Connection, arn: str | None, shard_id: str) -> str:
    request = {"StreamArn": arn, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
    iterator: str = connection.call("GetShardIterator", request, STREAMS)["ShardIterator"]
    return iterator


def _records_body(iterator: str) -> Body:
    return {"ShardIterator": iterator, "Limit": RECORDS}


def _measure(
    figure: Figure, candidate: _Candidate, operation: Operation, seconds: int, kind: str, connections: int
) -> float | None:
    """Answers a second, or None of a system that has no such operation."""
    driven = _run(figure, candidate, operation, seconds, kind, connections)
    if driven is not None and driven.answers < 2 * connections and seconds < LONGER_S:
        driven = _run(figure, candidate, operation, LONGER_S, f"{kind}-longer", connections)
    return None if driven is None else driven.per_second


def _run(
    figure: Figure, candidate: _Candidate, operation: Operation, seconds: int, kind: str, connections: int
) -> Driven | None:
    system = candidate.system
    run = f"{kind}-{operation.name}-{connections}"
    with Connection(system) as connection:
        if operation.api == STREAMS:
            if candidate.shard_id is None:
                return None
            run = _iterator(connection, candidate.arn, candidate.shard_id)
        written = [templates.template(system, operation.name, body, operation.api) for body in operation.bodies(run)]
        driven = drive(system, written, connections=connections, seconds=seconds)
        # What is still under way when the time is up must not disturb the next; it takes as long as the others did.
        time.sleep(min(driven.p99_ms / 1000, SETTLING_S_MAX))
        name = f"{system.name}: {operation.name}, {connections} connections"
        took = f", p50 {driven.p50_ms:.2f} ms, p99 {driven.p99_ms:.2f} ms" if driven.p99_ms else ""
        progress(f"{name}: {driven.per_second:,.0f}/s{took}")
        for fault in driven.faults:
            figure.fault(f"{name}: {fault}")
        if operation.items:
            _check_stored(
                figure, name, connection, run, driven.answers * operation.items, connections * operation.items
            )
            # Its own keys, so that a count of this run is not changed.
            run = f"{run}-sample"
        samples = (
            templates.template(system, operation.name, each, operation.api) for each in operation.bodies(run)[:1]
        )
        status, answer = connection.send(next(templates.filled(list(samples))))
        if status != 200 or not operation.right(json.loads(answer)):
            figure.fault(f"{name}: the sample was answered with {status}: {answer[:300]!r}")
    return driven


def _check_stored(
    figure: Figure, name: str, connection: Connection, run: str, acknowledged: int, under_way: int
) -> None:
    """Count the items of some partitions: as many as were acknowledged, or some of those under way at the end more."""
    share = acknowledged * COUNTED // PARTITIONS
    stored = sum(connection.count(TABLE, partition(run, number)) for number in range(COUNTED))
    # Numbers do not arrive in order, and the first may be one that wrk only tries its script with.
    if not share - under_way - COUNTED <= stored <= share + 2 * under_way + COUNTED:
        figure.fault(f"{name}: {stored} items are stored in {COUNTED} partitions, about {share} were acknowledged")
