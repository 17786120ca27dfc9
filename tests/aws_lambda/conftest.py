"""An app behind the Lambda handler: targets on moto, through a proxy for faults; the journal on our own engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import orjson
import pytest

from afterwrite import App, aws_lambda, open_engine
from afterwrite.app import Queue, Table
from afterwrite.core.changes import Change
from aws_servers import AwsServer, ask, moto_server
from aws_tables import create_table
from faulty_proxy import FaultyProxy, faulty_proxy

_numbers = count()


@pytest.fixture(scope="session")
def moto() -> Iterator[AwsServer]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def dynamodb_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("engine") / "data"
    with open_engine(data, listen="127.0.0.1:0", durability="relaxed") as engine:
        yield f"http://127.0.0.1:{engine.address[1]}"


@pytest.fixture
def proxy(moto: AwsServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(moto.endpoint_url) as proxy:
        yield proxy


class Remaining:
    """Lambda's context: how much time is left."""

    def __init__(self, ms: int = 60_000, request_id: str = "request-1") -> None:
        self._ms = ms
        self.aws_request_id = request_id

    def get_remaining_time_in_millis(self) -> int:
        return self._ms


class Deployed:
    """An app whose one route sends each change's number to a queue, deployed with a journal or without."""

    def __init__(self, moto: AwsServer, dynamodb: Any) -> None:
        self.app = App("shop")
        self.things: Table = self.app.table("things", partition_key="pk", sort_key="sk")
        self.queue: Queue = self.app.queue("numbers")
        self._sqs = moto.client("sqs")
        self._dynamodb = dynamodb
        self._url = self._sqs.create_queue(QueueName=f"numbers-{next(_numbers)}")["QueueUrl"]
        self.resources: dict[str, str] = {}
        self.environ: dict[str, str] = {}

        @self.things.on()
        def send_number(change: Change) -> Any:
            if change.new and "poison" in change.new:
                raise ValueError(f"cannot take {change.new['poison']}")
            return self.queue.send({"key": change.keys["pk"], "number": int(change.keys["sk"])})

    def keep_journal(self) -> None:
        """Give it a ledger and a table for parked lanes."""
        self.resources |= {
            "ledger": create_table(self._dynamodb, "pk"),
            "parked": create_table(self._dynamodb, "pk", "sk"),
        }

    def handler(self, **environ: str) -> Callable[..., Any]:
        """The handler of the app, as a process that has just started has it."""
        resources = {"queue/numbers": self._url, **self.resources}
        text = orjson.dumps(resources).decode()
        return aws_lambda.handler(self.app, environ={"AFTERWRITE_RESOURCES": text, **self.environ, **environ})

    def sent(self) -> list[tuple[str, int]]:
        """What is in the queue, taken out: key and number, in the order of arrival."""
        found: list[tuple[str, int]] = []
        while answer := self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for each in answer:
                body = orjson.loads(each["Body"])
                found.append((body["key"], body["number"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=each["ReceiptHandle"])
        return found

    def parked(self) -> list[Mapping[str, Any]]:
        """The items of the table of parked lanes."""
        return self._items("parked")

    def ledger(self) -> list[Mapping[str, Any]]:
        """The items of the ledger's table."""
        return self._items("ledger")

    def _items(self, resource: str) -> list[Mapping[str, Any]]:
        items: list[Mapping[str, Any]] = self._dynamodb.scan(TableName=self.resources[resource])["Items"]
        return items


@pytest.fixture
def deployed(moto: AwsServer, proxy: FaultyProxy, dynamodb_url: str, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    """An app whose requests to SQS go through the proxy. It keeps no journal yet."""
    ask(monkeypatch, proxy.url, dynamodb=dynamodb_url)
    return Deployed(moto, AwsServer("ours", dynamodb_url).client("dynamodb"))
