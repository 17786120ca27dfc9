"""docs/embedding.md names everything there is to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, Change, Context, DeclarationError, Effect, Message, open_engine
from afterwrite.inspection import DataReader
from afterwrite.testing import settle

DOCS = (Path(__file__).resolve().parent.parent / "docs" / "embedding.md").read_text()


@pytest.mark.parametrize("name", [each for each in vars(DataReader) if not each.startswith("_") and each != "close"])
def test_everything_to_look_at_is_named(name: str) -> None:
    assert re.search(rf"`{name}\(", DOCS)


def test_a_delivery_stream_s_rows_are_those_of_its_files(tmp_path: Path) -> None:
    app = App("shop")
    things = app.table("things", partition_key="pk")
    facts = app.delivery_stream("facts", buffer_seconds=0)

    @things.on()
    def keep(change: Change) -> Effect:
        return facts.put(n=1)

    with open_engine(tmp_path / "data", app) as engine:
        for number in range(3):
            engine.table("things").put({"pk": str(number)})
        settle(engine)
        rows = list(engine.reader().lake_records("facts"))
    assert [row["n"] for row in rows] == [1, 1, 1]
    assert len({row["id"] for row in rows}) == 3


def test_what_an_app_declares_is_asked_for_as_it_is_declared_and_by_its_name(tmp_path: Path) -> None:
    app = App("shop")
    things = app.table("things", partition_key="pk")
    facts = app.delivery_stream("facts", buffer_seconds=0)
    events = app.bus("events", archive_days=1)
    history = app.audit_log("history")
    mail = app.queue("mail")

    @app.function()
    def send(request: dict[str, Any], context: Context) -> None:
        pass

    @things.on()
    def keep(change: Change) -> list[Effect]:
        return [facts.put(n=1), events.put("Kept"), history.append(n=1), mail.send("kept"), send.later()]

    with open_engine(tmp_path / "data", app) as engine:
        engine.table(things).put({"pk": "a"})
        settle(engine)
        reader = engine.reader()
        asked: list[tuple[Callable[[Any], Iterator[Any]], Any]] = [
            (reader.items, things),
            (reader.changes, things),
            (reader.positioned_changes, things),
            (reader.lake_records, facts),
            (reader.archived_events, events),
            (reader.audit_entries, history),
            (reader.messages, mail),
            (reader.completions, send),
        ]
        for ask, declared in asked:
            assert len(list(ask(declared))) == len(list(ask(declared.name))) == 1
        assert reader.position(things) == reader.position("things") == 1
        assert reader.verify_audit(history).entries == 1


def test_a_queue_that_nobody_has_is_no_empty_queue(tmp_path: Path) -> None:
    app = App("shop")
    app.queue("mail")
    with open_engine(tmp_path / "data", app) as engine:
        assert list(engine.reader().messages("mail-dead-letters")) == []
        with pytest.raises(DeclarationError, match="expected a queue of mail, mail-dead-letters, got 'mial'"):
            list(engine.reader().messages("mial"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda reader: reader.archived_events("shop"), "expected a bus of orders, got 'shop'"),
        (lambda reader: reader.completions("sent"), "expected a function of send, got 'sent'"),
        (lambda reader: reader.items("order"), "expected a table of invoices, got 'order'"),
        (lambda reader: reader.changes("order"), "expected a table of invoices, got 'order'"),
        (lambda reader: reader.lake_records("fact"), "expected a delivery stream of facts, got 'fact'"),
        (lambda reader: reader.audit_entries("shop"), "expected an audit log of an app that has none, got 'shop'"),
    ],
)
def test_what_nobody_has_is_not_empty(
    tmp_path: Path, asked: Callable[[DataReader], Iterator[Any]], message: str
) -> None:
    app = App("shop")
    app.bus("orders", archive_days=1)
    app.table("invoices", partition_key="pk")
    app.delivery_stream("facts")

    @app.queue("mail").consumer()
    def send(message: Message, context: Context) -> None:
        pass

    with open_engine(tmp_path / "data", app) as engine:
        reader = engine.reader()
        assert not list(reader.archived_events("orders"))
        assert not list(reader.completions("send"))
        with pytest.raises(DeclarationError, match=message):
            list(asked(reader))
