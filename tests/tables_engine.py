"""`afterwrite serve` in this process, for tests: tables and no app, on a free port, with boto3 beside it."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from afterwrite.wiring import Engine
from bounds import BOUND_S

CONFIG = Config(retries={"max_attempts": 1, "mode": "standard"}, read_timeout=BOUND_S, connect_timeout=BOUND_S)
KEYS: dict[str, Any] = {
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
    "BillingMode": "PAY_PER_REQUEST",
}


def boto3_client(engine: Engine, *, key_id: str = "local", secret: str = "local", service: str = "dynamodb") -> Any:
    """A boto3 client that speaks to the engine over its socket."""
    session = boto3.Session(aws_access_key_id=key_id, aws_secret_access_key=secret, region_name="us-east-1")
    host, port = engine.address
    # The stubs know each service by its own name only.
    return session.client(service, endpoint_url=f"http://{host}:{port}", config=CONFIG)  # type: ignore[call-overload]
