"""Targets that functions send to, in the embedded engine and behind the Lambda handler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from afterwrite import INSERT, App, Change, Context, DeclarationError, Webhook, aws_lambda, open_engine
from afterwrite.aws_lambda import InvocationFailed
from aws_lambda.conftest import Remaining
from engine_process import wait_until
from lambda_events import sqs_record
from targets.receiving import Receiver, receiving


def an_app(receiver: Receiver, **options: Any) -> App:
    app = App("shop")
    orders = app.table("orders", partition_key="id", sort_key="n")
    tell = app.target("tell", Webhook(receiver.url), backoff_s=0.01, **options)

    @orders.on(INSERT)
    def told(change: Change) -> Any:
        return tell.later(n=change.keys["n"])

    return app


def numbers(receiver: Receiver) -> list[str]:
    return [json.loads(body)["n"] for _, _, body in receiver.requests]


def keys(receiver: Receiver) -> list[str]:
    return [headers["Idempotency-Key"] for _, headers, _ in receiver.requests]


def test_a_lane_waits_for_what_is_tried_again_under_the_same_key(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.answers.append((503, {}, b""))
        with open_engine(tmp_path / "data", an_app(receiver, retries=3)) as engine:
            for number in "123":
                engine.table("orders").put({"id": "a", "n": number})
            wait_until(lambda: len(receiver.requests) == 4, what="every request")
        assert numbers(receiver) == ["1", "1", "2", "3"]
        first, again, *later = keys(receiver)
        assert first == again and len({first, *later}) == 3


def test_the_wait_that_is_asked_for_is_kept_and_costs_no_attempt(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.answers.append((429, {"Retry-After": "1"}, b""))
        with open_engine(tmp_path / "data", an_app(receiver, retries=0)) as engine:
            engine.table("orders").put({"id": "a", "n": "1"})
            wait_until(lambda: len(receiver.requests) == 2, what="the second request")
        assert receiver.at_s[1] - receiver.at_s[0] >= 1.0
        assert len(set(keys(receiver))) == 1


def test_what_is_rejected_is_given_up_at_once_and_is_with_the_dead_letters(tmp_path: Path) -> None:
    with receiving() as receiver:
        receiver.answers.append((422, {}, b"no such order"))
        with open_engine(tmp_path / "data", an_app(receiver, retries=9)) as engine:
            for number in "12":
                engine.table("orders").put({"id": "a", "n": number})
            wait_until(lambda: len(receiver.requests) == 2, what="both requests")
            with engine.reader() as view:
                wait_until(view.idle, what="the end")
                (dead,) = view.messages("function-tell-dead-letters")
                assert dead.body["n"] == "1"
                assert "no such order" in str(next(iter(engine.parked().entries())))


@pytest.fixture
def environ() -> dict[str, str]:
    return {"AFTERWRITE_FUNCTION": "tell", "AFTERWRITE_RESOURCES": "{}"}


def test_a_queue_s_target_behind_the_handler_sends_the_bodies(environ: dict[str, str]) -> None:
    with receiving() as receiver:
        app = App("shop")
        app.queue("news").target("tell", Webhook(receiver.url))
        handler = aws_lambda.handler(app, environ=environ)
        records = [sqs_record(f'{{"n": "{n}"}}', attributes={"afterwrite-id": f"c{n}/r/0"}) for n in range(3)]
        receiver.answers += [(204, {}, b""), (503, {}, b"")]
        answer = handler({"Records": records}, Remaining())
        assert answer == {"batchItemFailures": [{"itemIdentifier": records[1]["messageId"]}]}
        assert numbers(receiver) == ["0", "1", "2"]
        assert keys(receiver) == [f'"c{n}/r/0"' for n in range(3)]


def test_an_invoked_target_behind_the_handler_raises_for_lambda_to_try_again(environ: dict[str, str]) -> None:
    with receiving() as receiver:
        handler = aws_lambda.handler(an_app(receiver), environ=environ)
        event = {"afterwrite": {"function": "tell", "id": "c1/r/0", "at_ms": 1}, "request": {"n": "1"}}
        receiver.answers.append((500, {}, b"some words"))
        with pytest.raises(InvocationFailed, match="tell failed: Unavailable") as raised:
            handler(event, Remaining())
        assert "some words" not in str(raised.value)
        handler(event, Remaining())
        assert keys(receiver) == ['"c1/r/0"', '"c1/r/0"']


def test_a_handler_without_a_name_is_declared_by_target() -> None:
    app = App("shop")
    with pytest.raises(DeclarationError, match="expected the function's name"):
        app.target("", Webhook("https://example.org"))
    sent: list[Any] = []

    class Printer:
        def __call__(self, request: Any, context: Context, /) -> None:
            sent.append(request)

    printer = app.target("printer", Printer())
    printer({"a": 1}, None)  # type: ignore[arg-type]
    assert sent == [{"a": 1}]
