"""Lambda's and Bedrock's clients, answered by the app's functions and models: over the wire and without a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from afterwrite import App
from afterwrite.config import Identity, Settings
from afterwrite.core.models import ModelRequest
from afterwrite.errors import DeclarationError
from afterwrite.wiring import Engine
from bounds import BOUND_S
from engine_process import wait_until

HAIKU = "anthropic.claude-3-haiku-20240307-v1:0"
KEY_ID, SECRET = "AKIDEXAMPLE", "secret"
SEEN: list[Any] = []
LEAVES: list[threading.Event] = []
OPENED: list[Any] = []

app = App("invoked")


@app.function(retries=0, timeout_s=60)
def add(request: Any, context: Any) -> Any:
    SEEN.append((request, context.invocation_id))
    if request == "fail":
        raise KeyError("no such thing")
    return {"sum": sum(request["numbers"]), "remaining": context.remaining_ms > 0}


@app.function(retries=0, timeout_s=0.5)
def hang(request: Any, context: Any) -> None:
    LEAVES.append(threading.Event())
    LEAVES[-1].wait(BOUND_S)


@app.model(HAIKU)
def haiku(request: ModelRequest) -> str:
    if request.prompt == "fail":
        raise ValueError("no")
    return f"{request.system}|{request.prompt}|{len(request.messages)}"


Client = Callable[[str], Any]


@pytest.fixture(autouse=True)
def clients_are_closed() -> Iterator[None]:
    """Their connections do not outlive a test."""
    yield
    while OPENED:
        OPENED.pop().close()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(app, Settings(data=tmp_path_factory.mktemp("invoked") / "data", port=0)) as running:
        yield running


@pytest.fixture(params=["socket", "in process"])
def client(request: pytest.FixtureRequest, engine: Engine) -> Client:
    if request.param == "in process":
        return engine.boto3_session().client  # type: ignore[return-value]
    return lambda service: over_http(engine, service, SECRET)


def over_http(engine: Engine, service: str, secret: str) -> Any:
    host, port = engine.address
    config = Config(retries={"total_max_attempts": 1})
    made = boto3.client(  # type: ignore[call-overload]
        service,
        endpoint_url=f"http://{host}:{port}",
        region_name=Identity().region,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=secret,
        config=config,
    )
    OPENED.append(made)
    return made


@pytest.mark.parametrize("name", ["add", "arn:aws:lambda:us-east-1:000000000000:function:add", "add:$LATEST"])
def test_a_function_is_invoked_and_answers(client: Client, name: str) -> None:
    answer = client("lambda").invoke(FunctionName=name, Payload=json.dumps({"numbers": [1, 2]}))
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == {"sum": 3, "remaining": True}


def test_a_function_that_raises_answers_its_error(client: Client) -> None:
    answer = client("lambda").invoke(FunctionName="add", Payload=b'"fail"')
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    body = json.loads(answer["Payload"].read())
    assert body["errorType"] == "KeyError"
    assert "no such thing" in body["errorMessage"]


def test_a_function_that_takes_too_long_answers_that(client: Client) -> None:
    answer = client("lambda").invoke(FunctionName="hang", Payload=b"{}")
    assert "Task timed out after 0.50 seconds" in json.loads(answer["Payload"].read())["errorMessage"]
    LEAVES[-1].set()


def test_where_the_system_gives_no_thread_callers_are_told_to_come_again_and_may(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = over_http(engine, "lambda", SECRET)
    real = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "invoke":
            raise RuntimeError("can't start new thread")
        real(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(70):  # more than may run at one time
            with pytest.raises(ClientError, match="TooManyRequestsException"):
                client.invoke(FunctionName="add", Payload=b'{"numbers": [1]}')
    assert client.invoke(FunctionName="add", Payload=b'{"numbers": [1]}')["StatusCode"] == 200


def test_a_function_invoked_as_an_event_runs_later(client: Client) -> None:
    answer = client("lambda").invoke(FunctionName="add", InvocationType="Event", Payload=b'{"numbers": [40, 2]}')
    assert answer["StatusCode"] == 202
    wait_until(lambda: any(request == {"numbers": [40, 2]} for request, _ in SEEN))
    SEEN.clear()


def test_a_dry_run_runs_nothing(client: Client) -> None:
    SEEN.clear()
    assert client("lambda").invoke(FunctionName="add", InvocationType="DryRun")["StatusCode"] == 204
    assert SEEN == []


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        ({"FunctionName": "other"}, "ResourceNotFoundException", 404),
        ({"FunctionName": "add", "Payload": b"no JSON"}, "InvalidRequestContentException", 400),
        ({"FunctionName": "add", "InvocationType": "Event", "Payload": b'"%s"' % (b"x" * (1 << 20))},
         "RequestTooLargeException", 413),
    ],
)  # fmt: skip
def test_what_lambda_refuses(client: Client, arguments: Any, code: str, status: int) -> None:
    with pytest.raises(ClientError) as raised:
        client("lambda").invoke(**arguments)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_function_that_is_not_there_is_named_by_its_arn(client: Client) -> None:
    with pytest.raises(ClientError, match="Function not found: arn:aws:lambda:us-east-1:000000000000:function:other"):
        client("lambda").invoke(FunctionName="other:5")


def test_a_model_answers_in_the_form_of_messages_s39(client: Client) -> None:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 100,
        "system": "be brief",
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
            {"role": "user", "content": [{"type": "text", "text": "why"}]},
        ],
    }
    answer = client("bedrock-runtime").invoke_model(
        modelId=HAIKU, contentType="application/json", body=json.dumps(body)
    )
    result = json.loads(answer["body"].read())
    assert result["content"] == [{"type": "text", "text": "be brief|why|3"}]
    assert (result["role"], result["stop_reason"], result["model"]) == ("assistant", "end_turn", HAIKU)
    assert result["usage"] == {"input_tokens": 5, "output_tokens": 2}


def test_a_model_answers_in_the_form_of_converse_s39(client: Client) -> None:
    answer = client("bedrock-runtime").converse(
        modelId=f"arn:aws:bedrock:us-east-1::foundation-model/{HAIKU}",
        messages=[{"role": "user", "content": [{"text": "hello"}]}],
        system=[{"text": "be brief"}],
        inferenceConfig={"maxTokens": 1, "temperature": 0.5, "topP": 0.9, "stopSequences": ["#"]},
    )
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "be"}]}
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"] == {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}
    assert answer["metrics"]["latencyMs"] >= 0


@pytest.mark.parametrize(
    ("model_id", "text", "code"),
    [("another", "hello", "ValidationException"), (HAIKU, "fail", "ModelErrorException")],
)
def test_what_bedrock_refuses(client: Client, model_id: str, text: str, code: str) -> None:
    with pytest.raises(ClientError) as raised:
        client("bedrock-runtime").converse(modelId=model_id, messages=[{"role": "user", "content": [{"text": text}]}])
    assert raised.value.response["Error"]["Code"] == code


def test_requests_are_signed_where_credentials_are_given(tmp_path: Path) -> None:
    with Engine(app, Settings(data=tmp_path / "data", port=0, credentials={KEY_ID: SECRET})) as engine:
        messages = [{"role": "user", "content": [{"text": "hello"}]}]
        good = over_http(engine, "bedrock-runtime", SECRET).converse(modelId=HAIKU, messages=messages)
        assert good["stopReason"] == "end_turn"
        assert over_http(engine, "lambda", SECRET).invoke(FunctionName="add:$LATEST", Payload=b'{"numbers": []}')
        with pytest.raises(ClientError) as raised:
            over_http(engine, "bedrock-runtime", "wrong").converse(modelId=HAIKU, messages=messages)
        assert raised.value.response["Error"]["Code"] == "InvalidSignatureException"


def test_one_model_is_declared_once() -> None:
    with pytest.raises(DeclarationError, match=HAIKU):
        app.model(HAIKU)(haiku)
