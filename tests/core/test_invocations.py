"""What functions ask for, in the form of the wire; and what they know of their invocation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import pytest

from afterwrite import App, DeclarationError
from afterwrite.core.invocations import Check, Context, Delete, Put, SortKeyRange, Update, between, placeholders
from afterwrite.core.ports import Services
from embedded import Clock

TABLE = App("a").table("things", partition_key="pk")


@pytest.mark.parametrize(
    ("write", "wire"),
    [
        (Put(TABLE, {"pk": "p", "n": Decimal("1.5")}), {"Put": {"Item": {"pk": {"S": "p"}, "n": {"N": "1.5"}}}}),
        (
            Update(TABLE, {"pk": "p"}, "SET #a = :v", "a < :v", {"#a": "a"}, {"v": 1}),
            {
                "Update": {
                    "Key": {"pk": {"S": "p"}},
                    "UpdateExpression": "SET #a = :v",
                    "ConditionExpression": "a < :v",
                    "ExpressionAttributeNames": {"#a": "a"},
                    "ExpressionAttributeValues": {":v": {"N": "1"}},
                }
            },
        ),
        (
            Delete(TABLE, {"pk": "p"}, "a = :v", values={":v": None}),
            {
                "Delete": {
                    "Key": {"pk": {"S": "p"}},
                    "ConditionExpression": "a = :v",
                    "ExpressionAttributeValues": {":v": {"NULL": True}},
                }
            },
        ),
        (
            Check(TABLE, {"pk": "p"}, "attribute_exists(pk)"),
            {"ConditionCheck": {"Key": {"pk": {"S": "p"}}, "ConditionExpression": "attribute_exists(pk)"}},
        ),
    ],
)
def test_writes_in_the_form_of_the_wire(write: Put | Update | Delete | Check, wire: dict[str, Any]) -> None:
    ((kind, body),) = wire.items()
    assert write.to_wire() == {kind: {**body, "TableName": "things"}}


def test_no_placeholders_are_no_fields() -> None:
    assert placeholders(None, None) == placeholders({}, {}) == {}


def test_between_includes_both_ends() -> None:
    assert between("a", "b") == SortKeyRange("a", "b")


def test_a_context_knows_its_attempt_and_what_time_is_left() -> None:
    clock = Clock()
    deadline_ms = clock.now_ms + 100
    context = Context(
        cast(Services, None),
        invocation_id="i",
        attempt=2,
        remaining_ms=lambda: deadline_ms - clock.now_ms,
        now_ms=lambda: clock.now_ms,
    )
    assert (context.invocation_id, context.attempt, context.now_ms) == ("i", 2, clock.now_ms)
    clock.advance(ms=30)
    assert context.remaining_ms == 70
    clock.advance(ms=100)
    assert context.remaining_ms == 0


class _Recorded:
    """Services that say what they were asked for."""

    def table(self, name: str) -> str:
        return f"the table {name}"

    def transact(self, writes: Sequence[Mapping[str, Any]]) -> None:
        self.written = list(writes)


def _context(services: Any) -> Context:
    return Context(services, invocation_id="i", attempt=1, remaining_ms=lambda: 0, now_ms=lambda: 0)


def test_a_table_is_had_by_its_declaration_or_its_name() -> None:
    services = _Recorded()
    context = _context(services)
    assert str(context.table(TABLE)) == str(context.table("things")) == "the table things"
    context.transact([Put("things", {"pk": "p"})])
    assert services.written == [Put(TABLE, {"pk": "p"}).to_wire()]


@pytest.mark.parametrize(
    ("writes", "found"),
    [(Put(TABLE, {"pk": "p"}), "Put"), ([("put", {})], "a list with tuple"), ([None], "a list with NoneType")],
)
def test_what_no_transaction_can_do_is_refused(writes: Any, found: str) -> None:
    with pytest.raises(DeclarationError, match=f"a list of Put, .*, got {found}: write context.transact"):
        _context(_Recorded()).transact(writes)
