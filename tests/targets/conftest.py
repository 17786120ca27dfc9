"""The servers that targets are run against, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aws_servers import AwsServer, ministack_server, moto_server, seaweedfs_server


@pytest.fixture(scope="session")
def moto() -> Iterator[AwsServer]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def ministack() -> Iterator[AwsServer]:
    with ministack_server() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[AwsServer]:
    with seaweedfs_server() as server:
        yield server


@pytest.fixture(params=["moto", "ministack"])
def server(request: pytest.FixtureRequest) -> AwsServer:
    """A server of AWS's APIs that is not ours."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, AwsServer)
    return found
