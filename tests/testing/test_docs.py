"""The examples of docs/testing.md run, and its tables say what the code does."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from afterwrite import testing
from afterwrite.testing import FAULTS, POINTS, At, EngineProcess, FaultyEngine, settle

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
EVERYWHERE = frozenset.intersection(*POINTS.values())


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """What the examples define, one after the other."""
    names: dict[str, Any] = {}
    for code in CODE:
        if "chance=1.0" not in code and "os.environ" not in code:
            exec(code, names)
    return names


def test_the_transcript_holds(example: dict[str, Any]) -> None:
    example["test_an_order_is_charged_and_its_customer_is_told"]()


def test_a_pipe_is_tested_to_its_enrichment_and_to_its_target(example: dict[str, Any], tmp_path: Path) -> None:
    example["test_who_joins_is_looked_up"]()
    example["test_who_joins_is_greeted_once"](tmp_path)


def test_the_faults_happen(example: dict[str, Any], tmp_path: Path) -> None:
    example["test_a_lost_answer_charges_again_under_the_same_id"](tmp_path)


SHOP = """
import boto3
from afterwrite import App

app = App("shop")
orders = app.table("orders", partition_key="PK")
mail = app.queue("mail")
news = app.topic("news")
news.subscribe(mail)
sns = boto3.client("sns")


def handler(event, context):
    for record in event["Records"]:
        order = record["dynamodb"]["Keys"]["PK"]["S"]
        sns.publish(TopicArn="arn:aws:sns:eu-west-1:123456789012:news", Message=order)


orders.event_source_mapping(handler)
"""
TESTS = """
from afterwrite.testing import settle


def test_the_handler_publishes(engine):
    engine.table("orders").put({"PK": "o-1"})
    settle(engine)
    assert [message.body for message in engine.reader().messages("mail")] == ["o-1"]
"""


def test_handlers_with_clients_of_their_own_are_tested_unchanged(tmp_path: Path) -> None:
    (conftest,) = (code for code in CODE if "os.environ" in code)
    for name, text in (("conftest.py", conftest), ("shop.py", SHOP), ("test_shop.py", TESTS)):
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "."]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_every_fault_is_at_its_points() -> None:
    rows = re.findall(r"^\| `([a-z]+)[^|]*\|[^|]*\| ([^|]*) \|$", DOCS, re.MULTILINE)
    documented = {point: set(re.findall(r"`(\w+)`", faults)) for point, faults in rows if point in POINTS}
    assert documented == {point: {fault.__name__ for fault in faults - EVERYWHERE} for point, faults in POINTS.items()}
    (line,) = re.findall(r"^`Slow`.*can happen at all", DOCS, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", line)) == {fault.__name__ for fault in EVERYWHERE}
    assert {fault.__name__ for fault in FAULTS} <= set(re.findall(r"^\| `(\w+)\(", DOCS, re.MULTILINE))


@pytest.mark.parametrize("kind", [At, FaultyEngine, EngineProcess, settle])
def test_calls_are_there_with_their_parameters(kind: Any) -> None:
    parameters = [each.replace(annotation=each.empty) for each in inspect.signature(kind).parameters.values()]
    assert f"{kind.__name__}{inspect.Signature(parameters)}" in DOCS


def test_the_names_are_public() -> None:
    assert all(hasattr(testing, name) for name in testing.__all__)
