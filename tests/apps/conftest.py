"""For all tests of apps: a real Redis, empty for each, and a client of the engine that an app's tests start."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import redis

from afterwrite.wiring import Engine
from aws_servers import AwsServer, moto_server
from demonstration import certain_writes
from demonstration.redis_process import RedisProcess
from faulty_proxy import FaultyProxy, faulty_proxy

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
    """A client that looks at what it holds."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def proxy() -> Iterator[tuple[AwsServer, FaultyProxy]]:
    """moto's server, and a proxy before it whose answers can be made faults."""
    with moto_server() as moto, faulty_proxy(moto.endpoint_url) as proxy:
        yield moto, proxy


@pytest.fixture
def dynamodb_client(engine: Engine) -> Iterator[DynamoDBClient]:
    """A client over the wire of the engine that the app's own fixture starts."""
    host, port = engine.address
    client = certain_writes.dynamodb_client(f"http://{host}:{port}", threads=8)
    yield client
    client.close()


class Demonstration(Protocol):
    """A demonstration's `run`."""

    def __call__(self, data: Path, size: int | None, crash: int, json: bool) -> int: ...


@pytest.fixture
def demonstrated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Mapping[str, Any]]:
    """Runs a demonstration in a new directory, all of whose checks must hold; what each has found, by its name."""

    def run(demonstration: Demonstration, *, size: int, crash: int) -> Mapping[str, Any]:
        status = demonstration(tmp_path / "data", size=size, crash=crash, json=True)
        printed = capfd.readouterr()
        assert printed.out, printed.err
        checks = json.loads(printed.out)["checks"]
        assert [check for check in checks if not check["ok"]] == []
        assert status == 0
        return {check["name"]: check["found"] for check in checks}

    return run
