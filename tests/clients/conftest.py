"""One engine process that serves tables; every client makes tables of its own in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine_process import EngineUnderTest


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUnderTest]:
    with EngineUnderTest(None, tmp_path_factory.mktemp("clients") / "data") as engine:
        yield engine
