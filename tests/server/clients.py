"""SDK clients of an engine, as users make them: an endpoint and any credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient

_ANY: dict[str, Any] = {
    "region_name": "eu-central-1",
    "aws_access_key_id": "any",
    "aws_secret_access_key": "any",
}


def dynamodb_client(url: str, *, attempts: int = 1, timeout_s: float = 10) -> DynamoDBClient:
    """A DynamoDB client."""
    config = Config(
        retries={"total_max_attempts": attempts, "mode": "standard"},
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        max_pool_connections=50,
    )
    return boto3.client("dynamodb", endpoint_url=url, config=config, **_ANY)


def dynamodb_resource(url: str) -> Any:
    """A DynamoDB resource: tables in Python values."""
    return boto3.resource("dynamodb", endpoint_url=url, **_ANY)


def events_client(url: str) -> EventBridgeClient:
    """An EventBridge client."""
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client("events", endpoint_url=url, config=config, **_ANY)
