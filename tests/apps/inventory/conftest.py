"""A real Redis for all tests, empty for each; and the products table, empty, in an engine whose app has no routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from inventory import load
from inventory.app import products
from inventory.redis_process import RedisProcess
from inventory.stock import Stock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis") / "redis.log")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def redis_server(redis_process: RedisProcess) -> RedisProcess:
    """It runs, whatever the test before has done to it, and holds nothing."""
    redis_process.kill()
    redis_process.start()
    return redis_process


@pytest.fixture
def view(redis_server: RedisProcess) -> Iterator[Any]:
    """A client that looks at what the cache holds."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    app = App("tables-only")
    app.table(products.name, partition_key="productId")
    with Engine(app, Settings(tmp_path / "data")) as engine:
        yield engine


@pytest.fixture
def dynamodb_client(engine: Engine) -> Iterator[DynamoDBClient]:
    host, port = engine.address
    client = load.client(f"http://{host}:{port}", threads=8)
    yield client
    client.close()


@pytest.fixture
def stock(dynamodb_client: DynamoDBClient) -> Stock:
    return Stock(dynamodb_client, products.name)
