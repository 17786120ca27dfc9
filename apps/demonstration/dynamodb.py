"""DynamoDB clients for an engine on this machine that may be killed in the middle of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


def repeating_client(endpoint_url: str, threads: int) -> DynamoDBClient:
    """A client that sends a request again until it is answered: for writes that may be repeated."""
    session = boto3.session.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the engine asks for none
        region_name="us-east-1",
    )
    return session.client(
        "dynamodb",
        endpoint_url=endpoint_url,
        config=Config(
            max_pool_connections=threads,
            parameter_validation=False,
            retries={"mode": "standard", "total_max_attempts": 12},
            connect_timeout=5,
            read_timeout=20,
        ),
    )
