"""The actions that a role must allow, for the ledger and for parked lanes: those that they take, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from afterwrite.core.changes import Change
from afterwrite.core.failures import failure
from afterwrite.core.ports import Begun, ParkedChange
from afterwrite.remote.dynamodb_ledger import DynamoDBLedger
from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes
from aws_tables import create_table

# Asked for where a server does not show the item that a condition refused.
_RARE = {"dynamodb:GetItem"}


@pytest.fixture
def taken(embedded_client: Any) -> Iterator[set[str]]:
    """The actions that requests take; a transaction takes those of its members."""
    found: set[str] = set()

    def note(params: dict[str, Any], model: Any, **_: Any) -> None:
        members = [kind for each in params.get("TransactItems", ()) for kind in each]
        names = [f"{kind}Item" for kind in members] or [model.name]
        found.update(f"dynamodb:{name}" for name in names)

    events = embedded_client.meta.events
    events.register("before-parameter-build.dynamodb", note)
    yield found
    events.unregister("before-parameter-build.dynamodb", note)


def test_the_ledger_takes_the_actions_that_it_names(embedded_client: Any, taken: set[str]) -> None:
    table = create_table(embedded_client, "pk")
    taken.clear()
    ledger = DynamoDBLedger(lambda: embedded_client, table, now_ms=lambda: 0)
    begun = ledger.begin("f", "m", lease_ms=1_000)
    assert isinstance(begun, Begun)
    ledger.fail("f", "m", begun, keep_ms=1_000)
    ledger.begin("f", "m", lease_ms=1_000)
    ledger.complete("f", "m", keep_ms=1_000)
    ledger.begin("f", "m", lease_ms=1_000)
    ledger.note("f", "n", failures=1, parts=["p"], keep_ms=1_000)
    ledger.complete_all("f", ["n"], keep_ms=1_000)
    ledger.look("f", ["m", "n"])
    assert taken | _RARE == set(DynamoDBLedger.actions)


def test_parked_lanes_take_the_actions_that_they_name(embedded_client: Any, taken: set[str]) -> None:
    table = create_table(embedded_client, "pk", "sk")
    taken.clear()
    lanes = DynamoDBParkedLanes(lambda: embedded_client, table, now_ms=lambda: 0)
    changes = [
        Change(id=str(number), table="t", event_name="REMOVE", keys=b"{}", sequence_number=str(number))
        for number in range(2)
    ]
    lanes.park("t", [ParkedChange(0, "l", changes[0], failure("bug", "why"))])
    lanes.follow("t", [ParkedChange(1, "l", changes[1], None)])
    assert lanes.parked_lanes("t", ["l"]) == {"l"}
    assert [count for *_, count in lanes.lanes()] == [2]
    for each in lanes.parked("t", "l", after=-1, limit=2, bytes_max=1 << 20):
        lanes.release("t", "l", each.position)
    assert taken == set(DynamoDBParkedLanes.actions)
