"""A real Redis for all tests of apps, empty for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from demonstration.redis_process import RedisProcess


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
