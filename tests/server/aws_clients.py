"""boto3's clients for an engine in this process."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from afterwrite.config import Identity
from afterwrite.wiring import Engine
from bounds import BOUND_S


def client(engine: Engine, service: str) -> Any:
    """A client of the service, which tries each request once."""
    host, port = engine.address
    return boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=f"http://{host}:{port}",
        region_name=Identity().region,
        aws_access_key_id="id",
        aws_secret_access_key="key",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=BOUND_S, parameter_validation=False),
    )
