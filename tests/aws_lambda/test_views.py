"""Caches and search indexes behind the Lambda handler: batches that come again, and late records, change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from afterwrite import App, aws_lambda
from demonstration.redis_process import RedisProcess
from opensearch_double import OpenSearchDouble, serving

BASE = 111_437_100_000_000_025_684_653_890
AT_S = 1_790_000_000


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path / "redis.log")
    process.start()
    yield process
    process.kill()


def record(number: int, key: str, old: int | None, new: int | None) -> dict[str, Any]:
    def image(quantity: int) -> dict[str, Any]:
        return {"PK": {"S": key}, "quantity": {"N": str(quantity)}, "words": {"S": f"quantity {quantity}"}}

    images = {"OldImage": old, "NewImage": new}
    return {
        "eventID": f"e-{number}",
        "eventName": "INSERT" if old is None else "REMOVE" if new is None else "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:111122223333:table/products/stream/2026-11-21T00:00:00.000",
        "dynamodb": {
            "ApproximateCreationDateTime": AT_S + number,
            "Keys": {"PK": {"S": key}},
            **{name: image(value) for name, value in images.items() if value is not None},
            "SequenceNumber": str(BASE + number),
            "SizeBytes": 10,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def app_with(*, url: str | None) -> App:
    app = App("shop")
    products = app.table("products", partition_key="PK")
    index = app.search_index("products", url=url)

    @app.cache("shop", url="redis://declared-for-the-embedded-engine").view(products)
    def show(item: Any) -> Any:
        return {f"stock:{item['PK']}": str(item["quantity"])}

    @index.documents(products)
    def document(item: Any) -> Any:
        return {"words": item["words"]}

    return app


def test_a_cache_and_an_index_are_never_older_than_they_were(cache: RedisProcess) -> None:
    pytest.importorskip("opensearchpy")
    with serving(OpenSearchDouble()) as double, redis.Redis.from_url(cache.url, decode_responses=True) as view:
        resources = {"cache/shop": cache.url, "search_index/products": double.url}
        handler = aws_lambda.handler(
            app_with(url="https://declared"), environ={"AFTERWRITE_RESOURCES": json.dumps(resources)}
        )
        first = [record(1, "a", None, 5), record(2, "b", None, 7), record(3, "a", 5, 4), record(4, "b", 7, None)]
        late = [record(3, "a", 5, 4), record(5, "a", 4, 3), record(1, "a", None, 5), record(2, "b", None, 7)]
        for batch in (first, first, late):
            assert handler({"Records": batch}, None) == {"batchItemFailures": []}
        assert {key: view.get(key) for key in view.keys("stock:*")} == {"stock:a": "3"}
        held = {id: document.source for id, document in double.indexes["products"].items()}
        assert held["products/a"] == {"words": "quantity 3"}
        assert "words" not in (held["products/b"] or {})


def test_an_index_of_the_embedded_engine_alone_holds_nobody_up(cache: RedisProcess) -> None:
    handler = aws_lambda.handler(
        app_with(url=None), environ={"AFTERWRITE_RESOURCES": json.dumps({"cache/shop": cache.url})}
    )
    assert handler({"Records": [record(1, "a", None, 5)]}, None) == {"batchItemFailures": []}
    with redis.Redis.from_url(cache.url, decode_responses=True) as view:
        assert view.get("stock:a") == "5"


def test_a_change_whose_cache_is_away_comes_again(cache: RedisProcess) -> None:
    cache.kill()
    handler = aws_lambda.handler(
        app_with(url=None), environ={"AFTERWRITE_RESOURCES": json.dumps({"cache/shop": cache.url})}
    )
    answer = handler({"Records": [record(1, "a", None, 5)]}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": str(BASE + 1)}]}
