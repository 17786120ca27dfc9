"""An app of pipes and event source mappings, one of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterwrite import App, Context

INSERTS = {"eventName": ["INSERT"]}

app = App("piping")
orders = app.table("orders", partition_key="pk", sort_key="sk")
clicks = app.kinesis_stream("clicks", shard_count=2)
out, given_up = app.queue("out"), app.queue("given-up")
news, events = app.topic("news"), app.bus("events")
facts, trail = app.delivery_stream("facts"), app.audit_log("trail", retain_days=30)


@app.function(retries=1)
def price(record: Mapping[str, Any], context: Context) -> Any:
    """The enrichment: what the order costs, nothing for one without a price."""
    image = record["dynamodb"]["NewImage"]
    return {"order": image["pk"]["S"], "price": image["price"]["N"]} if "price" in image else {}


@app.function(retries=20)
def bill(request: Any, context: Context) -> None:
    """A function with more attempts than an asynchronous invocation has."""


@app.function()
def audit(request: Any, context: Context) -> None:
    """A function that is invoked as it is."""


orders.pipe(filter=INSERTS, transform='{"order": <$.dynamodb.Keys.pk.S>}', to=out)
orders.pipe(filter=[INSERTS, {"eventName": ["REMOVE"]}], transform="order <$.dynamodb.Keys.pk.S>", to=news)
orders.pipe(to=events)
orders.pipe(filter=INSERTS, transform="for <$.dynamodb.Keys.pk.S>", to=audit)
orders.pipe(filter=INSERTS, enrich=price, transform='{"costs": <$.price>}', to=given_up)
orders.pipe(filter=INSERTS, enrich=price, transform=lambda priced: {"cents": int(priced["price"]) * 100}, to=facts)
orders.pipe(filter=INSERTS, enrich=price, to=bill)
orders.pipe(filter=INSERTS, transform=lambda record: {"who": record["dynamodb"]["Keys"]["pk"]["S"]}, to=trail)


def count(event: Any, context: Any) -> Any:
    """A Lambda function as it was before."""
    return {"batchItemFailures": [], "records": len(event["Records"])}


orders.event_source_mapping(
    count,
    BatchSize=50,
    MaximumRetryAttempts=3,
    BisectBatchOnFunctionError=True,
    FunctionResponseTypes=["ReportBatchItemFailures"],
    FilterCriteria={"Filters": [{"Pattern": INSERTS}]},
    DestinationConfig={"OnFailure": {"Destination": given_up}},
    timeout_s=30,
)
clicks.event_source_mapping(count, TumblingWindowInSeconds=60, MaximumRecordAgeInSeconds=3600)
