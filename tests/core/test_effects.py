"""Effects: values that can be compared, under ids that a second run gives again."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from afterwrite.core.effects import Append, Deliver, Effect, Enqueue, Invoke, Publish, PutEvent, stamp

EFFECTS: list[Effect] = [
    Publish("t", {"m": 1}),
    PutEvent("b", "s", "d", {}),
    Enqueue("q", "x"),
    Deliver("s", {"a": 1}),
    Append("l", {"a": 1}),
    Invoke("f", {"a": 1}),
]


def test_ids_name_the_change_the_route_and_the_place() -> None:
    stamped = stamp(EFFECTS, change_id="c", route="r", lane="t/p", at_ms=9)
    assert [each.id for each in stamped] == [f"c/r/{number}" for number in range(6)]
    assert [each.effect for each in stamped] == EFFECTS
    assert {(each.lane, each.at_ms) for each in stamped} == {("t/p", 9)}


def test_effects_are_frozen_values() -> None:
    assert Enqueue("q", {"a": 1}) == Enqueue("q", {"a": 1}, 0.0)
    assert Enqueue("q", 1) != Enqueue("q", 1, 5)
    with pytest.raises(FrozenInstanceError):
        Enqueue("q", 1).queue = "other"  # type: ignore[misc]
