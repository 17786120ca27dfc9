"""Reads that may take seconds hold up nobody else, and end when the engine does."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from afterwrite.config import Settings
from afterwrite.errors import StorageError
from afterwrite.server.long_reads import LongReads
from afterwrite.store.environment import Environment, ReadTransaction
from afterwrite.table.vector_search import SearchPlan
from afterwrite.wiring.engine import Engine
from bounds import BOUND_S
from embedded import Clock, open_store

INDEX: Any = {
    "IndexName": "near",
    "VectorAttribute": {"AttributeName": "v"},
    "Dimensions": 2,
    "DistanceFunction": "EUCLIDEAN",
    "Projection": {"ProjectionType": "KEYS_ONLY"},
}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with Engine(None, Settings(data=tmp_path / "data", host="127.0.0.1", port=0)) as engine:
        host, port = engine.address
        client = boto3.client(
            "dynamodb",
            endpoint_url=f"http://{host}:{port}",
            region_name="eu-central-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=BOUND_S),
        )
        client.create_table(
            TableName="things",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            VectorIndexes=[INDEX],
        )
        yield client


def test_others_are_answered_while_a_search_goes_on(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    answer = SearchPlan.answer

    def wait_and_answer(*arguments: Any) -> bytes:
        begun.set()
        assert go_on.wait(BOUND_S)
        return answer(*arguments)

    monkeypatch.setattr(SearchPlan, "answer", wait_and_answer)
    key = {"pk": {"S": "a"}}
    client.put_item(TableName="things", Item={**key, "v": {"L": [{"N": "3"}, {"N": "4"}]}})
    found: list[Any] = []

    def search() -> None:
        vector = [{"N": "0"}, {"N": "0"}]
        found.append(client.search_vectors(TableName="things", IndexName="near", SearchVector=vector, TopK=1))

    searching = threading.Thread(target=search)
    searching.start()
    assert begun.wait(BOUND_S)
    assert client.get_item(TableName="things", Key=key, ProjectionExpression="pk")["Item"] == key
    assert not found
    go_on.set()
    searching.join(BOUND_S)
    assert [(each["Item"], each["Score"]) for each in found[0]["SearchResults"]] == [(key, 5.0)]


def test_one_that_is_refused_is_said(client: Any) -> None:
    with pytest.raises(client.exceptions.ClientError, match="does not have the specified index: none"):
        client.search_vectors(TableName="things", IndexName="none", SearchVector=[{"N": "1"}], TopK=1)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    environment = open_store(tmp_path / "store", Clock())
    environment.write(lambda transaction: transaction.put("items", b"key", b"value"))
    yield environment
    environment.close()


def test_closing_ends_what_runs_and_what_waits(environment: Environment) -> None:
    reads = LongReads(environment)
    answers: queue.Queue[tuple[Any, Exception | None]] = queue.Queue()
    begun = threading.Event()

    def read_for_ever(transaction: ReadTransaction) -> None:
        while True:
            assert list(transaction.scan("items", b"")) == [(b"key", b"value")]
            begun.set()

    for _ in range(2):
        reads.run(read_for_ever, lambda *answer: answers.put(answer))
    assert begun.wait(BOUND_S)
    reads.close()
    for _ in range(2):
        result, error = answers.get(timeout=BOUND_S)
        assert result is None
        assert isinstance(error, StorageError)
        assert "is being stopped" in str(error)
    with pytest.raises(StorageError, match="is being stopped"):
        reads.run(read_for_ever, lambda *_: None)
