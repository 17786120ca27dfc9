"""What the tests of every layer start from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from afterwrite.store.environment import Environment
from embedded import Clock, Dynamo, open_store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def environment(tmp_path: Path, clock: Clock) -> Iterator[Environment]:
    """A fresh store."""
    opened = open_store(tmp_path / "store", clock)
    yield opened
    opened.close()


@pytest.fixture
def dynamo(environment: Environment) -> Dynamo:
    return Dynamo(environment)
