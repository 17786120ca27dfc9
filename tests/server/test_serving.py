"""Tables without an app, over the wire: signatures checked or not, and what is left of HTTP."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from afterwrite import App, Change
from afterwrite.config import Settings
from afterwrite.wiring import Engine
from server.http_serving import Client, post
from tables_engine import KEYS, boto3_client


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with Engine(None, Settings(tmp_path / "data")) as engine:
        yield engine


def test_tables_are_made_and_used_without_an_app(engine: Engine) -> None:
    client = boto3_client(engine)
    client.create_table(TableName="things", **KEYS)
    client.put_item(TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
    assert client.get_item(TableName="things", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})["Item"]["pk"] == {"S": "a"}
    client.delete_table(TableName="things")
    assert client.list_tables()["TableNames"] == []


def test_they_are_there_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with Engine(None, Settings(tmp_path / "data")) as engine:
            client = boto3_client(engine)
            if not client.list_tables()["TableNames"]:
                client.create_table(TableName="things", **KEYS)
            client.put_item(TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": "b"}})
    assert client.meta.service_model.service_name == "dynamodb"


def test_serving_an_apps_directory_keeps_what_its_routes_have_not_seen(tmp_path: Path) -> None:
    app = App("shop")
    orders = app.table("orders", partition_key="id")
    seen: list[str] = []

    @orders.on()
    def see(change: Change) -> None:
        seen.append(change.id)

    with Engine(app, Settings(tmp_path / "data")):
        pass
    with Engine(None, Settings(tmp_path / "data")) as engine:
        client = boto3_client(engine)
        client.put_item(TableName="orders", Item={"id": {"S": "1"}})
        with pytest.raises(ClientError, match="protected"):
            client.delete_table(TableName="orders")
        status = engine.reader().status()
        assert [(each.table, each.lag_records) for each in status.consumers] == [("orders", 1)]
        assert not seen


class TestCredentials:
    @pytest.fixture
    def engine(self, tmp_path: Path) -> Iterator[Engine]:
        with Engine(None, Settings(tmp_path / "data", credentials={"AKID": "secret"})) as engine:
            yield engine

    def test_who_signs_with_the_key_is_served(self, engine: Engine) -> None:
        client = boto3_client(engine, key_id="AKID", secret="secret")
        client.create_table(TableName="things", **KEYS)
        client.put_item(TableName="things", Item={"pk": {"S": "ä\n"}, "sk": {"S": "b"}, "x": {"S": "y" * 20_000}})
        assert client.scan(TableName="things")["Count"] == 1

    @pytest.mark.parametrize(
        ("key_id", "secret", "code"),
        [
            ("AKID", "wrong", "InvalidSignatureException"),
            ("nobody", "secret", "UnrecognizedClientException"),
        ],
    )
    def test_who_does_not_is_refused(self, engine: Engine, key_id: str, secret: str, code: str) -> None:
        with pytest.raises(ClientError) as refused:
            boto3_client(engine, key_id=key_id, secret=secret).list_tables()
        assert refused.value.response["Error"]["Code"] == code

    def test_without_a_signature_nothing_is_told(self, engine: Engine) -> None:
        client = Client(engine.address)
        client.send(post(b"{}", "X-Amz-Target: DynamoDB_20120810.ListTables"))
        answer = client.answer()
        assert (answer.status, answer.error) == (
            400,
            "com.amazon.coral.service#MissingAuthenticationTokenException",
        )
        client.socket.close()


def test_an_answer_is_compressed_for_who_takes_it(engine: Engine) -> None:
    boto3_client(engine).create_table(TableName="things", **KEYS)
    boto3_client(engine).put_item(
        TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": "b" * 400}, "x": {"S": "y" * 9000}}
    )
    client = Client(engine.address)
    body = json.dumps({"TableName": "things"}).encode()
    client.send(post(body, "X-Amz-Target: DynamoDB_20120810.Scan", "Accept-Encoding: gzip"))
    answer = client.answer()
    assert int(answer.headers["x-amz-crc32"]) == zlib.crc32(answer.body)
    assert json.loads(gzip.decompress(answer.body))["Count"] == 1
    client.socket.close()


def test_no_page_of_another_site_may_ask(engine: Engine) -> None:
    """CORS is off: a browser's question before a request is refused, without a header that would allow anything."""
    client = Client(engine.address)
    client.send(
        b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://site.example\r\n"
        b"Access-Control-Request-Method: POST\r\n\r\n"
    )
    answer = client.answer()
    assert answer.status == 404
    assert not [name for name in answer.headers if name.startswith("access-control")]
    client.socket.close()


def test_the_health_check_names_the_host_that_was_asked(engine: Engine) -> None:
    client = Client(engine.address)
    client.send(b"GET / HTTP/1.1\r\nHost: tables.example:8000\r\n\r\n")
    answer = client.answer()
    client.socket.close()
    assert (answer.status, answer.body) == (200, b"healthy: tables.example:8000\n")


def test_tagging_answers_without_a_body(engine: Engine) -> None:
    tables = boto3_client(engine)
    arn = tables.create_table(TableName="things", **KEYS)["TableDescription"]["TableArn"]
    client = Client(engine.address)
    for operation, fields in (
        ("TagResource", {"Tags": [{"Key": "k", "Value": "v"}]}),
        ("UntagResource", {"TagKeys": ["k"]}),
    ):
        body = json.dumps({"ResourceArn": arn, **fields}).encode()
        client.send(post(body, f"X-Amz-Target: DynamoDB_20120810.{operation}"))
        answer = client.answer()
        assert (answer.status, answer.body, answer.headers["x-amz-crc32"]) == (200, b"", "0")
    client.socket.close()
    tables.tag_resource(ResourceArn=arn, Tags=[{"Key": "k", "Value": "w"}])
    assert tables.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "w"}]
