"""The app's tables, empty, in an engine whose app has no routes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from accounts import app
from accounts.bank import Bank
from accounts.event_store import EventStore
from afterwrite import App, Key
from afterwrite.config import Settings
from afterwrite.wiring import Engine

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    tables = App("tables-only")
    tables.table(app.accounts.name, partition_key="accountId")
    tables.table(app.event_store.name, partition_key="accountId", sort_key=Key("version", "N"))
    tables.table(app.snapshots.name, partition_key="accountId", sort_key=Key("version", "N"))
    with Engine(tables, Settings(tmp_path / "data")) as engine:
        yield engine


@pytest.fixture
def store(engine: Engine) -> EventStore:
    return EventStore(engine.table(app.event_store.name), engine.table(app.snapshots.name))


@pytest.fixture
def bank(dynamodb_client: DynamoDBClient) -> Bank:
    return Bank(dynamodb_client, app.accounts.name)
