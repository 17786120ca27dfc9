"""The reference of declarations is whole, and its example loads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import afterwrite
from afterwrite import app as declarations
from afterwrite.core.event_source_mapping.declaration import MappedStream
from afterwrite.core.table_client import TableClient
from afterwrite.testing import AnswerLost, At, FaultyEngine, settle

DOCS = (Path(__file__).resolve().parent.parent / "docs" / "declaring.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
OWNERS = {
    "app": declarations.App,
    "table": declarations.Table,
    "queue": declarations.Queue,
    "function": declarations.Function,
    "stream": MappedStream,
    "topic": declarations.Topic,
    "bus": declarations.Bus,
    "delivery_stream": declarations.DeliveryStream,
    "audit_log": declarations.AuditLog,
    "context": afterwrite.Context,
    "webhook": afterwrite.Webhook,
    "email": afterwrite.Email,
    "sms": afterwrite.Sms,
    # What `context.table` gives is called a table as well.
    "table ": TableClient,
}
SENDERS = (afterwrite.Webhook, afterwrite.Email, afterwrite.Sms)
NOT_FOR_USERS = {"table.router"}


def signature(name: str, function: Callable[..., Any], *, is_method: bool) -> str:
    """How a call reads: `queue.send(body, *, delay_s=0.0)`."""
    parameters = [each.replace(annotation=each.empty) for each in inspect.signature(function).parameters.values()]
    return name + str(inspect.Signature(parameters[1:] if is_method else parameters)).replace("'", '"')


def signatures() -> Iterator[str]:
    for owner, kind in OWNERS.items():
        for name, member in vars(kind).items():
            full_name = f"{owner.strip()}.{name}"
            if not name.startswith("_") and inspect.isfunction(member) and full_name not in NOT_FOR_USERS:
                yield signature(full_name, member, is_method=True)
    for kind in (afterwrite.Put, afterwrite.Update, afterwrite.Delete, afterwrite.Check, afterwrite.App, *SENDERS):
        yield signature(kind.__name__, kind, is_method=False)


@pytest.mark.parametrize("line", list(signatures()))
def test_every_call_is_there_with_its_parameters_and_defaults(line: str) -> None:
    assert any(line in code.splitlines() for code in CODE)


@pytest.mark.parametrize("name", afterwrite.__all__)
def test_every_public_name_is_there(name: str) -> None:
    in_code = " ".join([*CODE, *re.findall(r"`([^`\n]+)`", DOCS)])
    assert re.search(rf"\b{name}\b", in_code)


@pytest.mark.parametrize("owner", ["change", "context"])
def test_every_attribute_is_there(owner: str) -> None:
    kind = {"change": afterwrite.Change, "context": afterwrite.Context}[owner]
    names = [name for name in dir(kind) if not name.startswith("_")]
    assert [name for name in names if f"`{owner}.{name}`" not in DOCS and f"`{owner}.{name}(" not in DOCS] == []


def test_the_example_declares_an_app_and_its_route_is_tested() -> None:
    names: dict[str, Any] = {}
    exec(CODE[0], names)
    assert {table.name: len(table.routes) for table in names["app"].tables} == {"shop-orders": 3, "shop-counters": 0}
    exec(next(code for code in CODE if "orders.pipe(" in code), names)
    assert [pipe.name for pipe in names["orders"].pipes] == ["shop-orders-to-shop-mail"]
    exec(CODE[-1], names)


def test_the_example_s_counter_counts_an_event_once_whose_answer_was_lost(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(CODE[0], names)
    with FaultyEngine(tmp_path / "data", names["app"], [At("function:count", AnswerLost())]) as engine:
        for status in ("new", "paid"):
            for order in ("o-1", "o-2"):
                engine.table("shop-orders").put({"PK": order, "SK": "META", "status": status, "amount": 5})
        settle(engine, files=False)
        assert len(engine.happened) == 1
        assert list(engine.parked().entries()) == []
        assert [item["paid"] for item in engine.reader().items("shop-counters") if item["event"] == "ALL"] == [2]


def test_the_view_in_another_table_shows_the_last_change(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(CODE[0], names)
    names["app"] = app = declarations.App("views")
    names["orders"] = app.table("shop-orders", partition_key="PK", sort_key="SK")
    exec(next(code for code in CODE if "def show_latest" in code), names)
    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        orders = engine.table("shop-orders")
        for status in ("new", "paid"):
            orders.put({"PK": "o-1", "SK": "META", "status": status})
            orders.put({"PK": "o-2", "SK": "META", "status": status})
        orders.delete({"PK": "o-2", "SK": "META"})
        settle(engine)
        assert list(engine.reader().items("shop-latest")) == [{"PK": "o-1", "status": "paid"}]


def test_numbers_arrive_with_the_digits_that_are_promised(tmp_path: Path) -> None:
    app = declarations.App("numbers")
    things = app.table("things", partition_key="pk")
    arrived: list[dict[str, Any]] = []

    @app.function()
    def note(request: dict[str, Any], context: afterwrite.Context) -> None:
        arrived.append(request)

    @things.on()
    def send(change: afterwrite.Change) -> afterwrite.Effect:
        new = change.new or {}
        return note.later(whole=new["whole"], price=new["price"], long=str(new["long"]), rounded=new["long"])

    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        long = Decimal("12345678901234567890.123456789")
        engine.table(things).put({"pk": "a", "whole": 2**63 - 1, "price": Decimal("5.87"), "long": long})
        settle(engine)
    assert arrived == [{"whole": 2**63 - 1, "price": 5.87, "long": str(long), "rounded": float(long)}]
