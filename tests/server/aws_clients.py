"""boto3's clients for an engine in this process, and requests that no client would send."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from afterwrite.config import Identity
from afterwrite.wiring import Engine
from bounds import BOUND_S


class Answer(NamedTuple):
    """An answer's status, the type of its content, and its body."""

    status: int
    content_type: str | None
    body: bytes


def post(engine: Engine, body: bytes | str, headers: Mapping[str, str], path: str = "/") -> Answer:
    """Send a request as it is given, on a connection of its own."""
    connection = http.client.HTTPConnection(*engine.address, timeout=BOUND_S)
    try:
        connection.request("POST", path, body, dict(headers))
        response = connection.getresponse()
        return Answer(response.status, response.getheader("Content-Type"), response.read())
    finally:
        connection.close()


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
