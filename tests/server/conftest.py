"""Fixtures of the server's tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from server.http_serving import Serve, serving


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that are stopped with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda handler, **options: stack.enter_context(serving(handler, **options))
