"""What comes in over the wire: canonical form, limits, and DynamoDB's words for what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from afterwrite.core.values import from_python
from afterwrite.errors import ServiceError
from afterwrite.table.attribute_values import checked_item
from table.case_files import load


@pytest.mark.parametrize("case", load("values"), ids=lambda case: str(case["value"])[:60])
def test_value(case: dict[str, Any]) -> None:
    item = {"first": {"S": "x"}, "a": case["value"]}
    if "becomes" in case:
        assert checked_item(item) == {"first": {"S": "x"}, "a": case["becomes"]}
        return
    with pytest.raises(ServiceError) as caught:
        checked_item(item)
    if "serialization" in case:
        assert (caught.value.code, caught.value.message) == ("SerializationException", case["serialization"])
    else:
        assert (caught.value.code, caught.value.message) == ("ValidationException", case["error"])


@pytest.mark.parametrize("members", [{"b", "é", "A", ""}, {10, 9, -1, Decimal("0.5")}, {b"\xff", b"\x00", b""}])
def test_a_set_is_the_same_whether_it_came_from_python_or_over_the_wire(members: set[Any]) -> None:
    ((kind, content),) = from_python(members).items()
    assert checked_item({"a": {kind: [*reversed(content)]}}) == {"a": {kind: content}}


@pytest.mark.parametrize("container", ["L", "M"])
def test_nesting_has_a_limit(container: str) -> None:
    def nested(levels: int) -> dict[str, Any]:
        value: dict[str, Any] = {"S": "x"}
        for _ in range(levels):
            value = {"L": [value]} if container == "L" else {"M": {"a": value}}
        return {"a": value}

    checked_item(nested(31))
    deepest: dict[str, Any] = {container: [] if container == "L" else {}}
    for _ in range(31):
        deepest = {"L": [deepest]} if container == "L" else {"M": {"a": deepest}}
    checked_item({"a": deepest})
    for levels in (32, 33, 40, 900):
        with pytest.raises(ServiceError, match="Nesting Levels have exceeded supported limits"):
            checked_item(nested(levels))


@pytest.mark.parametrize("item", ["x", 1, True])
def test_an_item_is_a_map(item: Any) -> None:
    with pytest.raises(ServiceError) as caught:
        checked_item(item)
    assert (caught.value.code, caught.value.message) == ("SerializationException", "Unexpected field type")
