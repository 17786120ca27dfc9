"""The reads: what GetItem, Query and Scan ask for, and the pages that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import ServiceError
from afterwrite.table import fields
from afterwrite.table.attribute_values import checked_item
from afterwrite.table.fields import Body, Condition, Expressions
from afterwrite.table.key_conditions import CompiledKeyCondition
from afterwrite.table.keys import (
    DIGEST_BYTES,
    KeyRange,
    after_key,
    checked_key,
    encode_key,
)
from afterwrite.table.projections import Projection
from afterwrite.table.schema import KeySchema
from afterwrite.table.sizes import consumed_capacity, item_size, read_units

PAGE_BYTES_MAX = 1024 * 1024

_SELECTS = ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES")
_WHOLE_TABLE = KeyRange(b"", b"\xff" * (DIGEST_BYTES + 1))


@dataclass(frozen=True, slots=True)
class GetPlan:
    """Read one item."""

    table_name: str
    key_attributes: Item
    projection: Projection | None
    consistent: bool
    capacity_detail: str

    def key(self, schema: KeySchema) -> Item:
        """The key, validated against the table's schema."""
        return checked_key(schema, self.key_attributes)

    def answer(self, item: Item | None) -> dict[str, Any]:
        """The response's body; without the item there is no `Item` in it."""
        answer: dict[str, Any] = {}
        if item is not None:
            answer["Item"] = item if self.projection is None else self.projection.of(item)
        if self.capacity_detail != "NONE":
            units = read_units(item_size(item or {}), consistent=self.consistent)
            answer["ConsumedCapacity"] = consumed_capacity(self.table_name, units, self.capacity_detail)
        return answer


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """Read a partition's items in the order of their sort keys, or (a Scan) the whole table's.

    The store reads the keys of `range` upwards, or downwards where not `forward`, and hands each item to a
    `QueryPage` until that has enough.
    """

    table_name: str
    key_condition: CompiledKeyCondition | None
    values: Mapping[str, AttributeValue]
    filter: Condition | None
    filter_attributes: frozenset[str]
    projection: Projection | None
    start_key: Item | None
    forward: bool = True
    limit: int | None = None
    count_only: bool = False
    consistent: bool = False
    capacity_detail: str = "NONE"

    def range(self, schema: KeySchema) -> KeyRange:
        """The encoded keys to read. Raises ServiceError where the plan does not fit the table's schema."""
        start = None if self.start_key is None else _encoded_start(schema, self.start_key)
        if self.key_condition is None:
            found = _WHOLE_TABLE
        else:
            found = self.key_condition.range(schema, self.values)
            self._check_filter(schema)
            if start is not None:
                self._check_start(schema, found, start)
        if start is None:
            return found
        if self.forward:
            return KeyRange(max(found.low, after_key(start)), found.high)
        return KeyRange(found.low, min(found.high, start))

    def _check_filter(self, schema: KeySchema) -> None:
        for name in schema.names:
            if name in self.filter_attributes:
                raise fields.invalid(
                    f"Filter Expression can only contain non-primary key attributes: Primary key attribute: {name}"
                )

    def _check_start(self, schema: KeySchema, found: KeyRange, start: bytes) -> None:
        """A start outside the partition is refused, one outside the sort key's range too."""
        if start[:DIGEST_BYTES] != found.low[:DIGEST_BYTES]:
            raise fields.invalid("The provided starting key is outside query boundaries based on provided conditions")
        if schema.sort_key is not None and not found.low <= start < found.high:
            raise fields.invalid("The provided starting key does not match the range key predicate")


class QueryPage:
    """One answer of a Query or Scan, filled item by item."""

    def __init__(self, plan: QueryPlan, schema: KeySchema) -> None:
        self._plan = plan
        self._schema = schema
        self._items: list[Item] = []
        self._matched = 0
        self._scanned = 0
        self._bytes = 0
        self._last: Item | None = None

    def add(self, item: Item) -> bool:
        """Take the next item; False means that the page is full, and that the next page starts behind it."""
        plan = self._plan
        self._scanned += 1
        self._bytes += item_size(item)
        if plan.filter is None or plan.filter.holds(item):
            self._matched += 1
            if not plan.count_only:
                self._items.append(item if plan.projection is None else plan.projection.of(item))
        if self._scanned == plan.limit or self._bytes >= PAGE_BYTES_MAX:
            self._last = item
            return False
        return True

    def answer(self) -> dict[str, Any]:
        """The response's body. A page that was full has a `LastEvaluatedKey`, even if nothing follows it."""
        plan = self._plan
        answer: dict[str, Any] = {"Count": self._matched, "ScannedCount": self._scanned}
        if not plan.count_only:
            answer["Items"] = self._items
        if self._last is not None:
            answer["LastEvaluatedKey"] = {name: self._last[name] for name in self._schema.names}
        if plan.capacity_detail != "NONE":
            units = read_units(self._bytes, consistent=plan.consistent)
            answer["ConsumedCapacity"] = consumed_capacity(plan.table_name, units, plan.capacity_detail)
        return answer


def parse_get_item(body: Body) -> GetPlan:
    """GetItem's body as a plan."""
    name = fields.table_name(body)
    fields.refuse_legacy(body, ("AttributesToGet",))
    key = fields.item(body, "Key")
    expressions = Expressions(body, ("ProjectionExpression",))
    projection = expressions.projection()
    expressions.finish()
    consistent = fields.flag(body, "ConsistentRead", default=False)
    return GetPlan(name, key, projection, consistent, fields.capacity_detail(body))


def parse_query(body: Body) -> QueryPlan:
    """Query's body as a plan."""
    fields.refuse_legacy(body, ("KeyConditions", "QueryFilter", "AttributesToGet", "ConditionalOperator"))
    if body.get("KeyConditionExpression") is None:
        raise fields.invalid(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    return _parse_page_request(
        body,
        ("FilterExpression", "KeyConditionExpression", "ProjectionExpression"),
        forward=fields.flag(body, "ScanIndexForward", default=True),
    )


def parse_scan(body: Body) -> QueryPlan:
    """Scan's body as a plan over the whole table."""
    fields.refuse_legacy(body, ("ScanFilter", "AttributesToGet", "ConditionalOperator"))
    if body.get("TotalSegments") is not None or body.get("Segment") is not None:
        raise fields.invalid("Parallel scans (Segment, TotalSegments) are not supported: scan without them")
    return _parse_page_request(body, ("FilterExpression", "ProjectionExpression"), forward=True)


def _parse_page_request(body: Body, expression_fields: tuple[str, ...], *, forward: bool) -> QueryPlan:
    name = fields.table_name(body)
    if body.get("IndexName") is not None:
        index = fields.text(body, "IndexName")
        raise fields.invalid(f"The table does not have the specified index: {index}")
    limit = fields.integer(body, "Limit")
    if limit is not None and limit < 1:
        raise fields.constraint_error(limit, "Limit", "Member must have value greater than or equal to 1")
    select = fields.choice(body, "Select", _SELECTS, "ALL_ATTRIBUTES")
    _check_select(body, select)
    detail = fields.capacity_detail(body)
    start_key = body.get("ExclusiveStartKey")
    if start_key is not None:
        start_key = _checked_start_key(start_key)
    expressions = Expressions(body, expression_fields)
    expressions.condition("KeyConditionExpression")
    condition = expressions.condition("FilterExpression")
    filter_attributes = expressions.condition_attributes("FilterExpression")
    projection = expressions.projection()
    expressions.finish()
    key_condition = expressions.key_condition()
    return QueryPlan(
        name,
        key_condition,
        expressions.values,
        condition,
        filter_attributes,
        projection,
        start_key,
        forward,
        limit,
        select == "COUNT",
        fields.flag(body, "ConsistentRead", default=False),
        detail,
    )


def _check_select(body: Body, select: str) -> None:
    projected = body.get("ProjectionExpression") is not None
    if select == "ALL_PROJECTED_ATTRIBUTES":
        raise fields.invalid(
            "One or more parameter values were invalid: ALL_PROJECTED_ATTRIBUTES can be used only when Querying "
            "using an IndexName"
        )
    if select == "SPECIFIC_ATTRIBUTES" and not projected:
        raise fields.invalid(
            "One or more parameter values were invalid: Must specify the AttributesToGet or ProjectionExpression "
            "when choosing to get SPECIFIC_ATTRIBUTES"
        )
    if body.get("Select") is not None and projected and select != "SPECIFIC_ATTRIBUTES":
        wanted = "only the Count" if select == "COUNT" else select
        raise fields.invalid(
            "One or more parameter values were invalid: Cannot specify the ProjectionExpression when choosing "
            f"to get {wanted}"
        )


def _checked_start_key(value: Any) -> Item:
    try:
        return checked_item(value)
    except ServiceError as error:
        # Numbers that are none are reported without saying where they stood.
        if error.message.startswith(("One or more parameter values", "Supplied AttributeValue")):
            raise fields.invalid(f"The provided starting key is invalid: {error.message}") from None
        raise


def _encoded_start(schema: KeySchema, start_key: Item) -> bytes:
    if start_key.keys() != set(schema.names):
        raise fields.invalid("The provided starting key is invalid")
    return encode_key(schema, checked_key(schema, start_key))
