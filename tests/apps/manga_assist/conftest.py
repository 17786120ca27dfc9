"""MangaAssist's tables, empty, in an engine of their own whose app has no routes; over the wire and in process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afterwrite import App, Context
from afterwrite.config import Settings
from afterwrite.core.table_client import TableClient
from afterwrite.wiring import Engine
from manga_assist.app import operations, sessions


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    app = App("tables-only")
    for table in (sessions, operations):
        app.table(table.name, partition_key="PK", sort_key="SK")
    with Engine(app, Settings(tmp_path / "data")) as engine:
        yield engine


@pytest.fixture
def sessions_table(engine: Engine) -> TableClient:
    return engine.services.table(sessions.name)


@pytest.fixture
def operations_table(engine: Engine) -> TableClient:
    return engine.services.table(operations.name)


@pytest.fixture
def make_context(engine: Engine) -> Callable[[int], Context]:
    def make(now_ms: int) -> Context:
        return Context(
            engine.services,
            invocation_id="invocation",
            attempt=1,
            remaining_ms=lambda: 60_000,
            now_ms=lambda: now_ms,
        )

    return make
