"""Waiting for rest: it ends when everything has happened, and says what has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, open_data, open_engine
from afterwrite.errors import AfterwriteError
from afterwrite.testing import EngineProcess, settle
from server.clients import dynamodb_client

APP = """
from afterwrite import App

app = App("noting")
things = app.table("things", partition_key="pk")


@app.function()
def note(request, context):
    (context.directory("notes") / request["pk"]).touch()


@things.on()
def spread(change):
    return note.later(pk=change.keys["pk"])
"""


def test_it_ends_when_everything_has_happened_in_another_process(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with EngineProcess(tmp_path / "app.py", tmp_path / "data") as engine:
        client = dynamodb_client(engine.url)
        for pk in "abc":
            client.put_item(TableName="things", Item={"pk": {"S": pk}})
        settle(engine)
        assert sorted(path.name for path in (tmp_path / "data/files/notes").iterdir()) == ["a", "b", "c"]
    with open_data(tmp_path / "data") as data:
        assert len(list(data.completions("note"))) == 3


def test_it_says_what_is_still_to_come(tmp_path: Path) -> None:
    app = App("waiting")
    things = app.table("things", partition_key="pk")
    facts = app.delivery_stream("facts", buffer_seconds=900)

    @app.function(retries=5, backoff_s=60)
    def fail(request: Any, context: Any) -> None:
        raise ConnectionError

    @things.on()
    def spread(change: Any) -> Any:
        return [facts.put(pk="a"), fail.later()]

    with open_engine(tmp_path / "data", app) as engine:
        engine.table("things").put({"pk": "a"})
        with pytest.raises(
            AfterwriteError, match=r"messages for fail \(1\), records for the files of lake/facts \(1\)"
        ):
            settle(engine, timeout_s=0.2)


def test_files_may_come_later(tmp_path: Path) -> None:
    app = App("waiting")
    things = app.table("things", partition_key="pk")
    facts = app.delivery_stream("facts", buffer_seconds=900)

    @things.on()
    def spread(change: Any) -> Any:
        return facts.put(pk="a")

    with open_engine(tmp_path / "data", app) as engine:
        engine.table("things").put({"pk": "a"})
        settle(engine, files=False)
        assert len(list(engine.reader().buffered_ids("lake/facts"))) == 1
