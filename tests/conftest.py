"""What the tests of every layer start from."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from afterwrite.store.environment import Environment
from embedded import Clock, Dynamo, open_store

# A shell ignores Ctrl-C on behalf of what it runs in the background, and children inherit that: those that tests start
# are interrupted.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# No example has a deadline, as no test is about time: a machine may leave any thread alone for seconds.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


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
