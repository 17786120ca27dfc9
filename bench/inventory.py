"""Changes a second through inventory's five effects: cache, alerts, audit, analytics, metrics; beside the seed's way.

Both get the same requests: CDNOW's real purchases, and before a purchase that finds too few on the shelf a delivery,
recorded from the app's own write side and sent over 128 connections, each product's in order. The peer is the handler
that the design document shows, in Python, on ministack's stream with the same Redis: record after record, each effect
a call. Either is done when the last change has had all its effects.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import redis
from bench import engine, peers
from bench.draining import Drained, rounds, wait_until
from bench.flows import Recorder
from bench.load import Load, in_own_process, send
from bench.ministack_flow import archive, client
from bench.processes import Unavailable
from bench.report import Figure
from bench.wire import System, request_bytes

from afterwrite.inspection import open_data
from demonstration.redis_process import RedisProcess
from demonstration.stage import DemoFailed
from inventory import load, purchases
from inventory.alerts import suggested_order_quantity
from inventory.purchases import PRODUCTS, Purchase, product_id
from inventory.stock import Movement, Stock

ROUNDS = 3
CONNECTIONS = 128
PURCHASES = 5_000
PEER_PURCHASES = 1_000
APP = Path(__file__).resolve().parents[1] / "apps" / "inventory" / "app.py"
TABLE = "inventory-products"
PEER = "the seed's handler on ministack (in memory)"
BUFFER_S = 1
HANDLED = "handled"

# The design document's handler: its order of effects, and one call for each.
_HANDLER = """
    import boto3, json, os, time, redis
    from boto3.dynamodb.types import TypeDeserializer
    from datetime import datetime, timezone

    options = dict(endpoint_url=os.environ["ENDPOINT"], region_name="us-east-1",
                   aws_access_key_id="local", aws_secret_access_key="local")
    cache = redis.Redis.from_url(os.environ["REDIS_URL"])
    sns = boto3.client("sns", **options)
    firehose = boto3.client("firehose", **options)
    cloudwatch = boto3.client("cloudwatch", **options)
    audit = boto3.resource("dynamodb", **options).Table("inventory-audit")
    plain = TypeDeserializer().deserialize

    def handler(event, context):
        began = time.time()
        for record in event["Records"]:
            process(record)
        cloudwatch.put_metric_data(Namespace="Inventory", MetricData=[
            {"MetricName": "ProcessedRecords", "Value": len(event["Records"])},
            {"MetricName": "ProcessingTime", "Value": time.time() - began, "Unit": "Seconds"},
        ])
        cache.incrby("handled", len(event["Records"]))

    def process(record):
        images = record["dynamodb"]
        new, old = ({name: plain(value) for name, value in images[image].items()} if image in images else None
                    for image in ("NewImage", "OldImage"))
        product = new or old
        name = product["productId"]
        if new:
            cache.set(f"product:{name}", json.dumps(new, default=str))
            cache.set(f"stock:{name}", str(new["quantity"]))
        else:
            cache.delete(f"product:{name}", f"stock:{name}")
        if new and new["quantity"] <= new["reorderThreshold"]:
            suggested = new.get("reorderQuantity") or new["reorderThreshold"] * 2 - new["quantity"]
            sns.publish(TopicArn=os.environ["TOPIC_ARN"], Subject=f"Low Stock Alert: {new['name']} ({new['sku']})",
                        Message=json.dumps({**new, "suggestedOrderQuantity": suggested}, default=str))
        before, after = (image["quantity"] if image else 0 for image in (old, new))
        audit.put_item(Item={"productId": name, "timestamp": datetime.now(timezone.utc).isoformat(),
                             "eventType": record["eventName"], "oldQuantity": before, "newQuantity": after,
                             "changeAmount": after - before, "user": product.get("lastModifiedBy")})
        row = {"productId": name, "eventType": record["eventName"], "timestamp": time.time(),
               "quantityChange": after - before}
        firehose.put_record(DeliveryStreamName="inventory-analytics",
                            Record={"Data": json.dumps(row, default=str).encode()})
"""


def measure(_seconds: float = 0.0, *, size: int | None = None) -> Figure:
    """Alternating rounds over both systems, each with fresh stores, of `size` purchases (the peer's at most 1,000)."""
    count = PURCHASES if size is None else size
    figure = Figure(f"changes/s through inventory's five effects, {count:,} purchases, until the last effect")

    def ours() -> Drained:
        with _redis() as url:
            return _ours(url, count, figure)

    def peer() -> Drained:
        with _redis() as url:
            return _peer(url, min(count, PEER_PURCHASES), figure)

    return rounds(figure, ROUNDS, {engine.NAME: ours, PEER: peer})


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        try:
            process = RedisProcess(Path(directory) / "redis.log")
            process.start()
        except DemoFailed as reason:
            raise Unavailable(str(reason)) from None
        try:
            yield process.url
        finally:
            process.kill()


def _ours(redis_url: str, count: int, figure: Figure) -> Drained:
    environment = {"INVENTORY_REDIS_URL": redis_url, "INVENTORY_BUFFER_S": str(BUFFER_S)}
    with engine.afterwrite(APP, environment) as running:
        sent = in_own_process(replay, running.system, count)
        with open_data(running.data) as view:
            ended = wait_until(view.idle)
            changes = sum(1 for _ in view.changes(TABLE))
            audited = sum(1 for _ in view.items("inventory-audit"))
            stock = {item["productId"]: int(item["quantity"]) for item in view.items(TABLE)}
    if audited != changes:
        figure.fault(f"{engine.NAME}: {audited} audit entries of {changes} changes")
    _compare(figure, engine.NAME, redis_url, stock)
    return Drained(sent, changes, ended - sent.began_ns / 1e9)


def _peer(redis_url: str, count: int, figure: Figure) -> Drained:
    with peers.ministack() as system:
        _deploy(system, redis_url)
        changes = sum(len(requests) for requests in recorded(count).values())
        with redis.Redis.from_url(redis_url) as cache:
            sent = in_own_process(replay, system, count)
            ended = wait_until(lambda: int(cast("bytes | None", cache.get(HANDLED)) or 0) >= changes)
        stock = {
            item["productId"]["S"]: int(item["quantity"]["N"])
            for page in client("dynamodb", system).get_paginator("scan").paginate(TableName=TABLE)
            for item in page["Items"]
        }
    _compare(figure, PEER, redis_url, stock)
    return Drained(sent, changes, ended - sent.began_ns / 1e9)


def _compare(figure: Figure, name: str, redis_url: str, stock: Mapping[str, int]) -> None:
    with redis.Redis.from_url(redis_url) as cache:
        shown = cast("list[bytes | None]", cache.mget([f"stock:{product}" for product in stock]))
    wrong = sum(found is None or int(found) != quantity for found, quantity in zip(shown, stock.values(), strict=True))
    if wrong:
        figure.fault(f"{name}: {wrong} of {len(stock)} products are not in the cache as they are in the table")


def _deploy(system: System, redis_url: str) -> None:
    """The tables, the topic with a queue, the delivery stream, and the handler on the products' stream."""
    dynamodb, functions = client("dynamodb", system), client("lambda", system)
    described = dynamodb.create_table(
        TableName=TABLE,
        **_keys("productId"),
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    dynamodb.create_table(TableName="inventory-audit", **_keys("productId", "timestamp"))
    topic = client("sns", system).create_topic(Name="inventory-low-stock")["TopicArn"]
    queue = client("sqs", system).create_queue(QueueName="inventory-purchasing")["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:000000000000:{queue.rpartition('/')[2]}"
    client("sns", system).subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    client("s3", system).create_bucket(Bucket="inventory-lake")
    client("firehose", system).create_delivery_stream(
        DeliveryStreamName="inventory-analytics",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::000000000000:role/bench",
            "BucketARN": "arn:aws:s3:::inventory-lake",
        },
    )
    functions.create_function(
        FunctionName="inventory-processor",
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/bench",
        Handler="function.handler",
        Code={"ZipFile": archive(_HANDLER)},
        Timeout=300,
        Environment={"Variables": {"ENDPOINT": system.url, "REDIS_URL": redis_url, "TOPIC_ARN": topic}},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName="inventory-processor")
    functions.create_event_source_mapping(
        FunctionName="inventory-processor",
        EventSourceArn=described["TableDescription"]["LatestStreamArn"],
        StartingPosition="TRIM_HORIZON",
        BatchSize=100,
    )


def _keys(*names: str) -> dict[str, Any]:
    kinds = ("HASH", "RANGE")
    return {
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": [{"AttributeName": n, "KeyType": k} for n, k in zip(names, kinds, strict=False)],
        "BillingMode": "PAY_PER_REQUEST",
    }


def replay(system: System, count: int) -> Load:
    """Send the requests of `count` purchases, each product's in order."""
    sequences = [
        [request_bytes(system, operation, body) for operation, body, _writes in requests]
        for requests in recorded(count).values()
    ]
    return send(system, sequences, connections=CONNECTIONS)


def recorded(count: int) -> dict[str, list[tuple[str, bytes, int]]]:
    """For each product its requests, those with the most first, as they take the longest."""
    by_product: dict[str, list[Purchase]] = {product_id(number): [] for number in range(PRODUCTS)}
    for purchase in purchases.load(count):
        by_product[purchase.product_id].append(purchase)
    found = {}
    for number in range(PRODUCTS):
        recorder = Recorder()
        _sell(Stock(cast("Any", recorder), TABLE), number, by_product[product_id(number)])
        found[product_id(number)] = recorder.requests
    return dict(sorted(found.items(), key=lambda each: -len(each[1])))


def _sell(stock: Stock, number: int, chosen: list[Purchase]) -> None:
    """List the product and make its purchases, each after a delivery where too few are left."""
    (listed,) = load.open_shop(stock, [number])
    left = listed.units
    for purchase in chosen:
        day = purchase.day.isoformat()
        if left < purchase.units:
            numbers = {"quantity": left, "reorderThreshold": 15 + number % 20}
            units = suggested_order_quantity(numbers) + purchase.units
            delivery = Movement(f"{purchase.id}-restock", "restock", purchase.product_id, units, 0, day)
            stock.restock(delivery, by="warehouse", below=purchase.units)
            left += units
        sale = Movement(purchase.id, "sale", purchase.product_id, purchase.units, purchase.cents, day)
        stock.sell(sale, by=f"customer-{purchase.customer_id}")
        left -= purchase.units
