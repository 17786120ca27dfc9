"""The examples of docs/testing.md run, and its tables say what the code does."""

from __future__ import annotations

import inspect
import re
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
        if "chance=1.0" not in code:
            exec(code, names)
    return names


def test_the_transcript_holds(example: dict[str, Any]) -> None:
    example["test_an_order_is_charged_and_its_customer_is_told"]()


def test_the_faults_happen(example: dict[str, Any], tmp_path: Path) -> None:
    example["test_a_lost_answer_charges_again_under_the_same_id"](tmp_path)


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
