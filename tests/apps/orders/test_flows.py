"""Orders in a real engine, with a real mail server and the demonstration's double of SNS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from afterwrite import Email, open_engine
from afterwrite.testing import At, ClockJump, FaultyEngine
from bounds import BOUND_S
from demonstration import inbox
from engine_process import wait_until
from mail_server import MailServer, mail_server
from orders import app
from orders.notices import Notifier
from text_messages import text_service

HOUR = timedelta(hours=1)


@pytest.fixture
def post() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


@pytest.fixture
def data(post: MailServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data directory of the app, whose notices reach the servers here."""
    emails = Email(post.url, sender="The Shop <orders@shop.example.com>")
    with text_service(tmp_path / "texts.sqlite") as texts:
        monkeypatch.setattr(app, "NOTIFIER", Notifier(emails.send, texts.send))
        yield tmp_path / "data"


@pytest.fixture
def engine(data: Path) -> Iterator[Any]:
    with open_engine(data, app.app) as running:
        register(running)
        yield running


def register(engine: Any) -> None:
    customers = engine.table(app.customers)
    customers.put({"customerId": "C-1", "name": "Ada", "email": "ada@example.com", "phone": "+15550100123"})


def move(engine: Any, order_id: str, status: str, **more: Any) -> None:
    table = engine.table(app.orders)
    before = table.get({"orderId": order_id}) or {"orderId": order_id, "customerId": "C-1"}
    table.put({**before, "status": status, **more})


def settled(engine: Any) -> None:
    with engine.reader() as view:
        wait_until(view.idle, bound_s=BOUND_S, what="the end of all that follows")


def test_an_order_is_told_of_once_for_each_transition(engine: Any, post: MailServer, tmp_path: Path) -> None:
    move(engine, "O-1", "placed")
    move(engine, "O-1", "shipped", trackingNumber="T1")
    move(engine, "O-1", "shipped", lastSeen="sorting centre")
    move(engine, "O-1", "delivered")
    move(engine, "O-1", "delivered", signedBy="neighbour")
    settled(engine)
    (email,) = post.messages
    assert (email["To"], email["Subject"]) == ("ada@example.com", "Your order O-1 is on its way")
    assert "T1" in email.get_content()
    (text,) = inbox.deliveries(tmp_path / "texts.sqlite")
    assert (text.recipient, text.body) == ("+15550100123", "The Shop: your order O-1 has been delivered.")


def test_an_e_mail_that_the_server_does_not_take_comes_under_the_same_id_and_before_what_is_later(
    engine: Any, post: MailServer, tmp_path: Path
) -> None:
    post.replies.append("451 4.3.0 try again")
    move(engine, "O-2", "shipped", trackingNumber="T2")
    wait_until(lambda: not post.replies, what="the first attempt")
    move(engine, "O-2", "delivered")
    settled(engine)
    (email,) = post.messages
    (text,) = inbox.deliveries(tmp_path / "texts.sqlite")
    assert email["X-Idempotency-Key"].endswith("/tell_customer/0")
    assert text.at_ms >= email["Date"].datetime.timestamp() * 1000


def test_an_e_mail_in_quiet_hours_comes_when_they_end(data: Path, post: MailServer) -> None:
    now = datetime.now(UTC)
    quiet = {name: f"{now + by:%H:%M:%S}" for name, by in (("from", -HOUR), ("until", HOUR / 2))}
    with FaultyEngine(data, app.app, [At("function:*", ClockJump(HOUR.total_seconds()), nth=2)]) as engine:
        register(engine)
        move(engine, "O-3", "shipped", trackingNumber="T3", quietHours=quiet)
        move(engine, "O-4", "shipped", trackingNumber="T4")
        wait_until(lambda: told(post) == {"O-4"}, what="the one e-mail that may come")
        move(engine, "O-5", "shipped", trackingNumber="T5")
        wait_until(lambda: told(post) == {"O-3", "O-4", "O-5"}, what="the other, an hour later")


def told(post: MailServer) -> set[str]:
    return {message["Subject"].split()[2] for message in post.messages}
