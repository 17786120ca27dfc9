"""docs/event-source-mapping.md: its example declares what it says, and its table names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from afterwrite.core.event_source_mapping.parameters import EventSourceMappingParameters
from afterwrite.core.invocations import LambdaContext

ROOT = Path(__file__).resolve().parent.parent
DOCS = (ROOT / "docs/event-source-mapping.md").read_text()
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
    (code,) = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
    exec(code, names)
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
