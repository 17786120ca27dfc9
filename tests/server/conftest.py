"""Fixtures of the server's tests."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from afterwrite.accelerators import library
from server.http_serving import Serve, serving


@pytest.fixture(params=["loop", "front"])
def serve(request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Start servers that are stopped with the test, without the front in C and with it."""
    with_front = request.param == "front"
    if with_front and library() is None:
        pytest.skip("the library in C was not made: there was no C compiler when afterwrite was installed")
    with contextlib.ExitStack() as stack:
        yield lambda handler, **options: stack.enter_context(serving(handler, **{"with_front": with_front, **options}))
