"""Inventory behind the Lambda handler: the shop's movements, the same reconciliation as on the embedded engine.

The tables are the embedded engine's, written over the wire; its event source mapping runs the handler of the routes.
The topic, the queues and the delivery stream are moto's, the cache is a real Redis. The functions have more attempts
than an invocation has, so FIFO queues feed them, as the template has it. On the way to moto entries of requests fail,
answers of whole batches are lost, and every message is delivered twice.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from afterwrite import App, aws_lambda, open_engine
from afterwrite.app import Function
from aws_lambda.conftest import Remaining
from aws_lambda.driving import QueueMapping, Routes, every_tenth_entry_fails_once
from aws_servers import AwsServer, ask
from aws_tables import create_table
from bounds import BOUND_S
from demonstration.certain_writes import dynamodb_client
from demonstration.redis_process import RedisProcess
from faulty_proxy import FaultyProxy
from inventory import app as shop
from inventory import load, purchases, readback
from inventory.purchases import product_id
from inventory.reconcile import Found, Written, follow_on, reconcile
from inventory.stock import Stock

PRODUCTS = range(6)
PURCHASES = 30
TABLES = (shop.products, shop.audit, shop.orders)


class Stack:
    """Inventory's resources: on moto, and the tables on our engine."""

    def __init__(self, moto: AwsServer, dynamodb: AwsServer) -> None:
        client = dynamodb.client("dynamodb")
        self.sqs, self.s3 = moto.client("sqs"), moto.client("s3")
        self.resources = {"ledger": create_table(client, "pk"), "parked": create_table(client, "pk", "sk")}
        self._dynamodb = client
        self.queues: dict[str, str] = {}
        for function in shop.app.functions:
            fifo = {"FifoQueue": "true"} if function.queue is None else {}
            name = function.queue_name + (".fifo" if fifo else "")
            url = self.sqs.create_queue(QueueName=name, Attributes=fifo)["QueueUrl"]
            self.queues[function.name] = url
            kind = "queue" if function.queue is not None else "function"
            self.resources[f"{kind}/{function.queue_name if function.queue else function.name}"] = url
        self._add_topic(moto)
        self._add_delivery_stream(moto)

    def _add_topic(self, moto: AwsServer) -> None:
        sns, url = moto.client("sns"), self.queues[shop.order_stock.name]
        arn = sns.create_topic(Name=shop.low_stock.name)["TopicArn"]
        queue = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue)
        self.resources[f"topic/{shop.low_stock.name}"] = arn

    def _add_delivery_stream(self, moto: AwsServer) -> None:
        name = shop.analytics.name
        self.s3.create_bucket(Bucket="lake")
        destination = {"RoleARN": "arn:aws:iam::111122223333:role/delivery", "BucketARN": "arn:aws:s3:::lake"}
        firehose = moto.client("firehose")
        firehose.create_delivery_stream(DeliveryStreamName=name, ExtendedS3DestinationConfiguration=destination)
        self.resources[f"delivery_stream/{name}"] = name

    def handler(self, function: Function | None = None) -> Callable[[Any, Any], Any]:
        """The handler of the routes, or of a function."""
        environ = {"AFTERWRITE_RESOURCES": orjson.dumps(self._tables | self.resources).decode()}
        if function is not None:
            environ["AFTERWRITE_FUNCTION"] = function.name
        return aws_lambda.handler(shop.app, environ=environ)

    @property
    def _tables(self) -> dict[str, str]:
        return {f"table/{table.name}": table.name for table in TABLES}

    def consumers(self) -> list[QueueMapping]:
        """The mappings of all functions, each message delivered twice."""
        return [
            QueueMapping(self.sqs, self.queues[each.name], self.handler(each), Remaining, twice=True)
            for each in shop.app.functions
        ]

    def parked(self) -> int:
        """How many items there are of parked lanes."""
        return int(self._dynamodb.scan(TableName=self.resources["parked"])["Count"])

    def rows(self) -> list[Mapping[str, Any]]:
        """The lake's rows, each effect once by its id."""
        found: dict[str, Mapping[str, Any]] = {}
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket="lake"):
            for each in page.get("Contents", []):
                lines = self.s3.get_object(Bucket="lake", Key=each["Key"])["Body"].read().splitlines()
                found |= {row["id"]: row for row in map(orjson.loads, lines)}
        return list(found.values())


def deployed(function: Routes) -> App:
    """The tables, as an app of their own whose products are mapped to the function."""
    app = App("tables-of-inventory")
    for declared in TABLES:
        table = app.table(declared.name, partition_key=declared.partition_key, sort_key=declared.sort_key)
        if declared is shop.products:
            table.event_source_mapping(
                function,
                FunctionName="routes",
                FunctionResponseTypes=["ReportBatchItemFailures"],
                BisectBatchOnFunctionError=True,
                MaximumRetryAttempts=10,
            )
    return app


def write(url: str) -> Written:
    """Open the shop, sell, change a price, discontinue two products and list one of them again."""
    stock = Stock(dynamodb_client(url, 1), shop.products.name)
    movements = load.open_shop(stock, PRODUCTS)
    offered = set(map(product_id, PRODUCTS))
    wanted = [each for each in purchases.load(2_000) if each.product_id in offered][:PURCHASES]
    for purchase in wanted:
        movements += load.sell(stock, purchase)
    priced, gone, again = (product_id(number) for number in PRODUCTS[:3])
    stock.set_price(priced, 1_234, by="catalogue")
    for product in (gone, again):
        stock.discontinue(product)
    movements += load.open_shop(stock, PRODUCTS[2:3], again=True)
    return Written(movements, {priced: 1_234}, [(gone, False), (again, True)])


def found(stack: Stack, data: Any, redis_url: str) -> Found:
    """What the stores hold: tables, log and cache as on the engine, the lake's rows from its objects."""
    rows = stack.rows()
    embedded = readback.read(data, redis_url)
    audit = sorted(data.items(shop.audit.name), key=lambda row: (row["productId"], row["sequence"]))
    sold: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        if row["kind"] == "sale":
            counts = Counter(units=-row["quantity_change"], cents=row["cents"])
            sold[row["product_id"], row["day"]] = sold.get((row["product_id"], row["day"]), Counter()) + counts
    return Found(
        changes=embedded.changes,
        products=embedded.products,
        orders=embedded.orders,
        audited=embedded.audited,
        audit_in_order=follow_on((row["productId"], row["oldQuantity"], row["newQuantity"]) for row in audit),
        analytics=[(row["event_id"], row["product_id"], row["quantity_change"]) for row in rows],
        sold=[(product, day, counts["units"], counts["cents"]) for (product, day), counts in sold.items()],
        cached=embedded.cached,
        dead_letters={},
        leftovers={},
    )


def test_the_same_reconciliation_holds_through_partial_failures_and_repetitions(
    proxy: tuple[AwsServer, FaultyProxy], redis_server: RedisProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moto, faults = proxy
    routes = Routes()
    with open_engine(tmp_path / "data", deployed(routes), listen="127.0.0.1:0", durability="relaxed") as engine:
        url = f"http://127.0.0.1:{engine.address[1]}"
        ask(monkeypatch, faults.url, dynamodb=url)
        stack = Stack(moto, AwsServer("ours", url))
        stack.resources[f"cache/{shop.redis.name}"] = redis_server.url
        faults.fault_of = every_tenth_entry_fails_once()
        routes.handle = stack.handler()
        written = write(url)
        consumers = stack.consumers()

        def is_over() -> bool:
            with engine.reader() as data:
                (mapping,) = data.status().event_source_mappings
            busy = [work.run_once() for work in consumers]
            return not any(busy) and mapping.lag_records == 0

        deadline_s = time.monotonic() + BOUND_S
        while not is_over():
            assert time.monotonic() < deadline_s, "the flows do not come to an end"
        with engine.reader() as data:
            checks = reconcile(written, found(stack, data, redis_server.url))
        assert stack.parked() == 0
    assert [check for check in checks if not check.ok] == []
    assert routes.deliveries >= 3, "one of which came twice"
