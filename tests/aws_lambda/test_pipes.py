"""Pipes and event source mappings of functions behind the handler, with the events that AWS sends for them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from afterwrite import aws_lambda
from afterwrite.aws_lambda import InvocationFailed
from afterwrite.errors import DeclarationError
from aws_lambda.conftest import Remaining
from aws_servers import AwsServer
from lambda_events import dynamodb_record
from synth import piping_app


def called(function: str, event: Any) -> Any:
    return aws_lambda.handler(piping_app.app, environ={"AFTERWRITE_FUNCTION": function})(event, Remaining())


def test_an_enrichment_s_answers_go_on_and_nothing_goes_on_for_an_empty_one_s31() -> None:
    records = [dynamodb_record(1, "a", table="orders", price=5), dynamodb_record(2, "b", table="orders")]
    assert called("pipe-orders-to-given-up", records) == [{"order": "a", "price": "5"}]


def test_an_enrichment_answers_with_what_its_pipe_s_code_makes_of_it_in_the_lake_s_form() -> None:
    record = dynamodb_record(1, "a", table="orders", price=5)
    (answer,) = called("pipe-orders-to-facts", [record])
    assert answer["id"] == f"{record['eventID']}/orders-to-facts/0"
    assert answer["cents"] == 500
    assert answer["time"].endswith("Z")


def test_a_function_behind_an_enrichment_is_asked_by_the_change_s_id() -> None:
    record = dynamodb_record(1, "a", table="orders", price=5)
    (asked,) = called("pipe-orders-to-bill", [record])
    assert asked == {
        "afterwrite": {"function": "bill", "id": f"{record['eventID']}/orders-to-bill/0"},
        "request": {"order": "a", "price": "5"},
    }


def test_more_answers_than_the_target_takes_are_an_error_as_the_service_would_leave_them() -> None:
    pipe = next(pipe for pipe in piping_app.orders.pipes if pipe.name == "orders-to-given-up")
    assert len(pipe.answers({}, [1] * 10)) == 10
    with pytest.raises(ValueError, match="at most 10 members"):
        pipe.answers({}, [1] * 11)


def test_a_pipe_s_function_gets_each_request_and_fails_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def audit(request: Any, context: Any) -> None:
        given.append((context.invocation_id, request))
        if request == "bad":
            raise ValueError(request)

    function = next(each for each in piping_app.app.functions if each.name == "audit")
    monkeypatch.setitem(function.__dict__, "handler", audit)
    asked = [{"afterwrite": {"function": "audit", "id": str(n)}, "request": text} for n, text in enumerate("ab")]
    called("audit", asked)
    assert given == [("0", "a"), ("1", "b")]
    with pytest.raises(InvocationFailed):
        called("audit", [{**asked[0], "request": "bad"}])


def test_a_pipe_that_is_a_route_on_aws_runs_with_the_routes(moto: AwsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint_url)
    s3 = moto.client("s3")
    s3.create_bucket(Bucket="piped-trail", ObjectLockEnabledForBucket=True)
    environ = {"AFTERWRITE_TABLE": "orders", "AFTERWRITE_RESOURCES": '{"audit_log/trail": "piped-trail"}'}
    handle = aws_lambda.handler(piping_app.app, environ=environ)
    assert handle({"Records": [dynamodb_record(1, "a", table="orders")]}, Remaining()) == {"batchItemFailures": []}
    (kept,) = s3.list_objects_v2(Bucket="piped-trail")["Contents"]
    entry = orjson.loads(s3.get_object(Bucket="piped-trail", Key=kept["Key"])["Body"].read())
    assert entry["entry"] == {"who": "a"}


def test_a_mapped_function_gets_the_event_as_it_is() -> None:
    handle = aws_lambda.handler(piping_app.app, environ={"AFTERWRITE_MAPPED_FUNCTION": "count"})
    assert handle({"Records": [{}, {}]}, None) == {"batchItemFailures": [], "records": 2}
    with pytest.raises(DeclarationError, match=r"name a function of an event source mapping.*got 'absent'.*count"):
        aws_lambda.handler(piping_app.app, environ={"AFTERWRITE_MAPPED_FUNCTION": "absent"})
