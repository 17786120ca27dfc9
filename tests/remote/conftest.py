"""Tables of DynamoDB's API for ledgers and parked lanes: our own engine's, and DynamoDB Local's where it can be had."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from bench import peers
from bench.processes import Unavailable

from afterwrite import open_engine


@pytest.fixture(scope="session")
def embedded_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with open_engine(tmp_path_factory.mktemp("engine") / "data", durability="relaxed") as engine:
        yield engine.boto3_session().client("dynamodb")


@pytest.fixture(scope="session")
def dynamodb_local_client() -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        try:
            system = stack.enter_context(peers.dynamodb_local())
        except Unavailable as reason:
            pytest.skip(str(reason))
        yield boto3.Session("any", "any", region_name="us-east-1").client(
            "dynamodb", endpoint_url=f"http://{system.host}:{system.port}"
        )


@pytest.fixture(params=["embedded_client", "dynamodb_local_client"])
def dynamodb(request: pytest.FixtureRequest) -> Any:
    """A boto3 client of DynamoDB."""
    return request.getfixturevalue(request.param)
