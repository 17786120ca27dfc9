"""The engine in the program that uses it: boto3 without a socket, native tables, batches."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

import afterwrite
from afterwrite import AfterwriteError, App, Engine
from afterwrite.errors import DeclarationError, InvalidValue, ServiceError
from tables_engine import KEYS


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine without a socket, in a process that may open none."""

    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with afterwrite.open_engine(tmp_path / "data") as engine:
        yield engine


@pytest.fixture
def client(engine: Engine) -> Any:
    client = engine.boto3_session().client("dynamodb")
    client.create_table(TableName="things", **KEYS)
    return client


def test_a_client_reads_and_writes(client: Any) -> None:
    item = {"pk": {"S": "a"}, "sk": {"S": "ä"}, "n": {"N": "1.50"}, "b": {"B": b"\x00\xff"}}
    client.put_item(TableName="things", Item=item)
    got = client.get_item(TableName="things", Key={"pk": {"S": "a"}, "sk": {"S": "ä"}})
    assert got["Item"] == {**item, "n": {"N": "1.5"}}
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_resource_does_too(engine: Engine, client: Any) -> None:
    table = engine.boto3_session().resource("dynamodb").Table("things")
    with table.batch_writer() as batch:
        for number in range(60):
            batch.put_item(Item={"pk": "a", "sk": f"{number:02d}", "n": number})
    found: list[Any] = table.scan()["Items"]
    assert sum(item["n"] for item in found) == sum(range(60))


def test_the_users_own_configuration_is_not_looked_at(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "config"
    own.write_text("[default]\nregion = eu-north-1\nparameter_validation = false\n[broken\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(own))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(own))
    monkeypatch.setenv("AWS_PROFILE", "gone")
    client: Any = engine.boto3_session().client("dynamodb")
    assert client.meta.region_name == "us-east-1"
    with pytest.raises(ParamValidationError):
        client.list_tables(Limit="many")
    assert client.list_tables()["TableNames"] == []


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_item(TableName="nothing", Key={"pk": {"S": "a"}})
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.put_item(
            TableName="things", Item={"pk": {"S": "a"}, "sk": {"S": "b"}}, ConditionExpression="attribute_exists(pk)"
        )


def test_a_service_that_is_not_offered_is_answered_here_and_not_by_the_network(engine: Engine) -> None:
    with pytest.raises(ClientError, match="UnknownOperation"):
        engine.boto3_session().client("ssm").describe_parameters()


def test_put_many_puts_everything_in_order(engine: Engine, client: Any) -> None:
    table = engine.table("things")
    items = [{"pk": f"p{number % 7}", "sk": f"{number:05d}", "n": Decimal(number)} for number in range(2_500)]
    assert table.put_many(iter(items)) == 2_500
    assert sorted(engine.reader().items("things"), key=lambda item: item["sk"]) == items
    assert table.put_many([]) == 0
    assert table.put_many({"pk": "same", "sk": "key", "n": number} for number in range(1_500)) == 1_500
    assert table.get({"pk": "same", "sk": "key"}) == {"pk": "same", "sk": "key", "n": 1_499}


def test_put_many_makes_the_changes_that_puts_make(tmp_path: Path) -> None:
    app = App("shop")
    orders = app.table("orders", partition_key="id")
    with afterwrite.open_engine(tmp_path / "data", app) as engine:
        engine.table(orders).put_many([{"id": "1", "n": 1}, {"id": "1", "n": 2}, {"id": "1", "n": 2}])
        changes = list(engine.reader().changes("orders"))
    assert [change.event_name for change in changes] == ["INSERT", "MODIFY"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"pk": "p"}, ServiceError),
        ({"pk": "p", "sk": 1}, ServiceError),
        ({"pk": "p", "sk": "x", "f": 1.5}, InvalidValue),
        ({"pk": "p", "sk": "x", "large": "x" * 410_000}, ServiceError),
    ],
)
def test_a_batch_with_a_bad_item_is_not_put_and_those_before_it_are(
    engine: Engine, client: Any, bad: dict[str, Any], error: type[Exception]
) -> None:
    good = [{"pk": "p", "sk": f"{number:05d}"} for number in range(1_500)]
    with pytest.raises(error):
        engine.table("things").put_many([*good, bad])
    assert sum(1 for _ in engine.reader().items("things")) == 1_000


def test_large_items_come_in_smaller_batches(engine: Engine, client: Any) -> None:
    items = [{"pk": "p", "sk": f"{number:03d}", "x": "x" * 300_000} for number in range(40)]
    assert engine.table("things").put_many(items) == 40
    assert sum(1 for _ in engine.reader().items("things")) == 40


def test_without_a_socket_there_is_no_address(engine: Engine) -> None:
    with pytest.raises(AfterwriteError, match="no socket"):
        _ = engine.address


def test_a_table_that_is_not_there_is_named(engine: Engine) -> None:
    with pytest.raises(DeclarationError, match="nothing"):
        engine.table("nothing")


def test_importing_the_package_brings_no_store() -> None:
    """An import on Lambda has to stay quick."""
    program = "import sys, afterwrite; print([m for m in ('lmdb', 'uvloop', 'boto3', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"[]"
    assert {"Engine", "open_engine", "open_data"} <= set(afterwrite.__all__)
