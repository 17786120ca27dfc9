"""The products table, empty, in an engine whose app has no routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from afterwrite import App
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from inventory.app import products
from inventory.stock import Stock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    app = App("tables-only")
    app.table(products.name, partition_key="productId")
    with Engine(app, Settings(tmp_path / "data")) as engine:
        yield engine


@pytest.fixture
def stock(dynamodb_client: DynamoDBClient) -> Stock:
    return Stock(dynamodb_client, products.name)
