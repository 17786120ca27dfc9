"""docs/event-source-mapping.md: its example declares what it says, and its table names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from afterwrite import App, open_engine
from afterwrite.core.event_source_mapping.parameters import EventSourceMappingParameters
from afterwrite.core.invocations import LambdaContext
from afterwrite.testing import settle

ROOT = Path(__file__).resolve().parent.parent
DOCS = (ROOT / "docs/event-source-mapping.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
ROWS = re.findall(r"^\| (S\d+) \| [^|]+ \| [^|]+ \| `(\w+)` \|$", DOCS, re.MULTILINE)
TESTS = {
    node.name
    for path in (
        *ROOT.glob("tests/core/event_source_mapping/test_*.py"),
        ROOT / "tests/engine/test_event_source_mapping.py",
    )
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize(("fact", "test"), ROWS)
def test_every_row_names_a_test_of_its_fact(fact: str, test: str) -> None:
    assert test in TESTS
    assert test.endswith(f"_{fact.lower()}")


def test_the_table_is_whole() -> None:
    facts = set(re.findall(r"^\| (S\d+) \|", (ROOT / "docs/facts.md").read_text(), re.MULTILINE))
    lambda_s_own = {f"S{number}" for number in range(1, 18)} & facts - {"S9"}
    assert {fact for fact, _ in ROWS} == lambda_s_own | {"S19"}


def test_the_example_declares_two_mappings() -> None:
    names: dict[str, Any] = {}
    exec(CODE[0], names)
    mappings = [*names["orders"].event_source_mappings, *names["clicks"].event_source_mappings]
    assert [mapping.function_name for mapping in mappings] == ["shop-router", "shop-clicks"]
    assert mappings[0].destination is names["failed"]


@pytest.mark.parametrize(
    "name", [each for each in vars(LambdaContext) if not each.startswith("_")] + ["aws_request_id"]
)
def test_every_member_of_the_context_is_named(name: str) -> None:
    assert f"`{name}`" in DOCS or f"`{name}()`" in DOCS


def test_every_parameter_is_known_to_boto3() -> None:
    """The names are AWS's: the request of CreateEventSourceMapping has every one of them."""
    import boto3

    client = boto3.client("lambda", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    known = client.meta.service_model.operation_model("CreateEventSourceMapping").input_shape.members
    assert set(EventSourceMappingParameters.__annotations__) <= set(known)


def test_the_items_of_given_up_records_are_told(tmp_path: Path) -> None:
    app = App("shop")
    orders = app.table("orders", partition_key="PK")

    def handler(event: Any, context: Any) -> Any:
        failed = [each["dynamodb"] for each in event["Records"] if each["dynamodb"]["Keys"]["PK"]["S"] == "o-2"]
        return {"batchItemFailures": [{"itemIdentifier": each["SequenceNumber"]} for each in failed]}

    orders.event_source_mapping(
        handler,
        MaximumRetryAttempts=0,
        BisectBatchOnFunctionError=True,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
    with open_engine(tmp_path / "data", app) as engine:
        for number in range(4):
            engine.table("orders").put({"PK": f"o-{number}"})
        settle(engine)
    names: dict[str, Any] = {}
    exec(CODE[1], names)
    assert names["given_up"](tmp_path / "data") == {"handler": [{"PK": "o-2"}]}


def test_what_is_in_a_directory_is_given_to_the_handler_again(tmp_path: Path) -> None:
    app = App("shop")
    got: list[str] = []
    is_mended: list[bool] = []
    orders = app.table("orders", partition_key="PK")

    def handler(event: Any, context: Any) -> None:
        if not is_mended:
            raise ValueError
        got.extend(record["dynamodb"]["Keys"]["PK"]["S"] for record in event["Records"])

    failed = {"OnFailure": {"Destination": "arn:aws:s3:::shop-failed"}}
    orders.event_source_mapping(handler, MaximumRetryAttempts=0, DestinationConfig=failed)
    with open_engine(tmp_path / "data", app) as engine:
        engine.table("orders").put({"PK": "o-1"})
        settle(engine)
    names: dict[str, Any] = {}
    exec(CODE[2], names)
    is_mended.append(True)
    directory = tmp_path / "data/files/shop-failed"
    names["run_again"](handler, directory)
    assert got == ["o-1"]
    assert not [path for path in directory.rglob("*") if path.is_file()]
