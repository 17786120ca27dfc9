"""SMS over SNS (moto, ministack): what arrives, and what a refusal means."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest
from bench.processes import free_port
from botocore.stub import ANY, Stubber

from afterwrite import Message, Rejected, Sms, Throttled, Unavailable
from aws_servers import AwsServer

ID = "change-1/notify/0"


def sms(server: AwsServer) -> Sms:
    return Sms(sender_id="Shop", client=lambda: server.client("sns"))


def test_sns_takes_a_text(server: AwsServer) -> None:
    sms(server).send(id=ID, to="+15550100123", text="It is there. Grüße")


def test_a_text_arrives_at_its_number(ministack: AwsServer) -> None:
    from types import SimpleNamespace

    context: Any = SimpleNamespace(invocation_id=ID)
    sms(ministack)(Message("m", {"to": "+15550100124", "text": "It is there."}, 0), context)
    with urllib.request.urlopen(f"{ministack.endpoint_url}/_ministack/sns/sms-messages") as answer:
        shown = json.dumps(json.load(answer))
    assert "+15550100124" in shown and "It is there." in shown


@pytest.mark.parametrize("to", ["", "5550100", "+0123456789", "+1 555 0100", "arn:aws:sns:us-east-1:1:topic"])
def test_what_is_no_number_is_rejected_before_it_is_sent(to: str) -> None:
    with pytest.raises(Rejected, match="phone number"):
        Sms(client=lambda: pytest.fail("nothing is sent")).send(id=ID, to=to, text="x")


@pytest.mark.parametrize("text", ["", "ä" * 801])
def test_a_text_of_no_length_or_too_long_is_rejected_before_it_is_sent(text: str) -> None:
    with pytest.raises(Rejected, match="1 to 1600 bytes"):
        Sms(client=lambda: pytest.fail("nothing is sent")).send(id=ID, to="+15550100123", text=text)


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("Throttled", 429, Throttled),
        ("InternalError", 500, Unavailable),
        ("AuthorizationError", 403, Rejected),
        ("InvalidParameter", 400, Rejected),
    ],
)
def test_a_refusal_is_of_its_kind(moto: AwsServer, code: str, status: int, error: type[Exception]) -> None:
    client = moto.client("sns")
    expected = {"PhoneNumber": "+15550100123", "Message": "x", "MessageAttributes": ANY}
    with Stubber(client) as stub:
        stub.add_client_error("publish", code, "words", status, expected_params=expected)
        with pytest.raises(error, match=code):
            sms(moto).send(id=ID, to="+15550100123", text="x")


def test_sns_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        sms(AwsServer("none", f"http://127.0.0.1:{free_port()}")).send(id=ID, to="+15550100123", text="x")
