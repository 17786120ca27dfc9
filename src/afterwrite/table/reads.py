"""The reads: what GetItem, Query and Scan ask for, and the pages that answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import InvalidRequest, ServiceError
from afterwrite.table import fields, legacy, start_keys, wording
from afterwrite.table.attribute_values import checked_item
from afterwrite.table.capacity import Capacity
from afterwrite.table.expressions import Condition, Expressions
from afterwrite.table.fields import Body
from afterwrite.table.key_conditions import CompiledKeyCondition
from afterwrite.table.keys import DIGEST_BYTES, KeyRange, after_key, checked_key
from afterwrite.table.projections import Projection
from afterwrite.table.schema import ALL, GLOBAL, IndexSchema, KeySchema
from afterwrite.table.sizes import item_size, read_units
from afterwrite.table.wording import newer_message

PAGE_BYTES_MAX = 1024 * 1024

SEGMENTS_MAX = 1_000_000

_PARTITIONS = 1 << (8 * DIGEST_BYTES)
_ABOVE_ALL = b"\xff" * (DIGEST_BYTES + 1)
_PROJECTION_FIELDS = frozenset(
    ("ProjectionExpression", "AttributesToGet", "ExpressionAttributeNames", "ExpressionAttributeValues")
)
_QUERY_EXPRESSIONS = ("ProjectionExpression", "FilterExpression", "KeyConditionExpression")
_QUERY_LEGACY = ("AttributesToGet", "QueryFilter", "ConditionalOperator")
_PLACED = ("One or more parameter values", "Supplied AttributeValue")
_UNPLACED = ("An number set", "Input collection")
_SCAN_EXPRESSIONS = ("ProjectionExpression", "FilterExpression")
_SCAN_LEGACY = ("AttributesToGet", "ScanFilter", "ConditionalOperator")


@dataclass(frozen=True, slots=True)
class GetPlan:
    """Read one item."""

    table_name: str
    key_attributes: Item
    projection: Projection | None
    consistent: bool
    capacity_detail: str

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that it looks into."""
        return frozenset() if self.projection is None else self.projection.nested

    def key(self, schema: KeySchema) -> Item:
        """The key, validated against the table's schema."""
        return checked_key(schema, self.key_attributes)

    def answer(self, item: Item | None) -> dict[str, Any]:
        """The response's body; without the item there is no `Item` in it."""
        answer: dict[str, Any] = {}
        if item is not None:
            answer["Item"] = item if self.projection is None else self.projection.of(item)
        if self.capacity_detail != "NONE":
            capacity = Capacity(self.table_name)
            capacity.add(read_units(item_size(item or {}), consistent=self.consistent))
            answer["ConsumedCapacity"] = capacity.to_wire(self.capacity_detail)
        return answer


@dataclass(frozen=True, slots=True)
class QueryPlan:
    """Read a partition's items in the order of their sort keys, or (a Scan) the whole table's.

    The store reads the keys of `range` upwards, or downwards where not `forward`, and hands each item to a
    `QueryPage` until that has enough.
    """

    table_name: str
    index_name: str | None
    key_condition: CompiledKeyCondition | None
    values: Mapping[str, AttributeValue]
    filter: Condition | None
    filter_attributes: frozenset[str]
    projection: Projection | None
    start_key: Item | None
    forward: bool = True
    limit: int | None = None
    select: str | None = None
    consistent: bool = False
    capacity_detail: str = "NONE"
    segment: tuple[int, int] = (0, 1)
    legacy: bool = False

    @property
    def nested(self) -> frozenset[str]:
        """The top-level attributes that filter and projection look into."""
        nested = frozenset() if self.filter is None else self.filter.nested
        return nested if self.projection is None else nested | self.projection.nested

    def range(self, schema: KeySchema, index: IndexSchema | None = None) -> KeyRange:
        """The encoded keys to read, of the table or its index. Raises ServiceError where the plan does not fit."""
        if self.consistent and index is not None and index.scope == GLOBAL:
            raise wording.invalid("Consistent reads are not supported on global secondary indexes")
        key = self.start_key
        if key is None:
            found = self._whole(schema, index)
        else:
            found, start = self._begun(schema, index, key)
        self._check_filter(schema, index)
        if key is None:
            return found
        if self.forward:
            return KeyRange(max(found.low, after_key(start)), found.high)
        return KeyRange(found.low, min(found.high, start))

    def _whole(self, schema: KeySchema, index: IndexSchema | None) -> KeyRange:
        if self.key_condition is None:
            return _segment(*self.segment)
        if index is None:
            return self.key_condition.range(schema, self.values)
        return self.key_condition.entry_range(index, self.values)

    def _begun(self, schema: KeySchema, index: IndexSchema | None, key: Item) -> tuple[KeyRange, bytes]:
        """All that the plan finds, and the place of the key behind which it goes on."""
        if self.key_condition is None and index is None:
            start_keys.check_scanned_table(schema, key)
        else:
            start_keys.check_partition(schema, index, key)
        found = self._whole(schema, index)
        start_keys.check_sort(schema, index, key)
        if self.key_condition is None:
            self._check_select(index)
        start_keys.check_table_key(schema, key)
        start = start_keys.encoded(schema, index, key)
        if self.key_condition is None:
            if not found.low <= start < found.high:
                raise wording.invalid(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use ExclusiveStartKey "
                    f"with correct Segment. TotalSegments: {self.segment[1]} Segment: {self.segment[0]}"
                )
            return found, start
        names = {attribute.name for attribute in (index or schema).partition_attributes}
        terms = self.key_condition.terms
        partition = {term.attribute: self.values[term.operands[0]] for term in terms if term.attribute in names}
        start_keys.check_bounds(schema, index, key, start, found, partition, has_sort_condition=len(terms) > len(names))
        return found, start

    def _check_filter(self, schema: KeySchema, index: IndexSchema | None) -> None:
        if self.key_condition is not None:
            for name in (schema if index is None else index).names:
                if name in self.filter_attributes:
                    what = "QueryFilter" if self.legacy else "Filter Expression"
                    raise wording.invalid(
                        f"{what} can only contain non-primary key attributes: Primary key attribute: {name}"
                    )
        self._check_select(index)
        if self.key_condition is not None and index is not None:
            self._check_filter_projected(schema, index)

    def _check_filter_projected(self, schema: KeySchema, index: IndexSchema) -> None:
        projected = index.projected_names(schema)
        missing = [] if projected is None else sorted(self.filter_attributes - projected)
        if missing:
            raise wording.invalid_parameter(
                f"Secondary index {index.name} does not project one or more filter attributes: [{', '.join(missing)}]"
            )

    def _check_select(self, index: IndexSchema | None) -> None:
        if index is None or index.scope != GLOBAL or index.projection == ALL:
            return
        if self.select == "ALL_ATTRIBUTES":
            raise wording.invalid_parameter(
                f"Select type ALL_ATTRIBUTES is not supported for global secondary index {index.name} "
                "because its projection type is not ALL"
            )

    def shown(self, schema: KeySchema, index: IndexSchema | None) -> frozenset[str] | None:
        """The attributes that there are to be seen of an item; None where it is all of them.

        A local index fetches from the table what it does not project, where that is asked for.
        """
        if index is None:
            return None
        projected = index.projected_names(schema)
        if projected is None or index.scope == GLOBAL:
            self._check_projected(index, projected)
            return projected
        wanted = () if self.projection is None else self.projection.attributes
        fetches = self.select == "ALL_ATTRIBUTES" or any(name not in projected for name in wanted)
        return None if fetches else projected

    def _check_projected(self, index: IndexSchema, projected: frozenset[str] | None) -> None:
        if projected is None or self.projection is None:
            return
        missing = [name for name in self.projection.attributes if name not in projected]
        if missing:
            raise wording.invalid_parameter(
                f"Global secondary index {index.name} does not project [{', '.join(missing)}]"
            )


def _segment(number: int, count: int) -> KeyRange:
    """The part of all partitions that segment `number` of `count` reads."""
    low = -(-_PARTITIONS * number // count)
    high = -(-_PARTITIONS * (number + 1) // count)
    end = _ABOVE_ALL if high == _PARTITIONS else high.to_bytes(DIGEST_BYTES, "big")
    return KeyRange(low.to_bytes(DIGEST_BYTES, "big") if number else b"", end)


class QueryPage:
    """One answer of a Query or Scan, filled item by item; those that nothing looks into go through as their texts.

    It is full with the item that reaches `bytes_max`.
    """

    def __init__(
        self, plan: QueryPlan, schema: KeySchema, index: IndexSchema | None = None, *, bytes_max: int = PAGE_BYTES_MAX
    ) -> None:
        self._plan = plan
        self._index = index
        self._bytes_max = bytes_max
        self._shown = plan.shown(schema, index)
        self._projected = None if index is None else index.projected_names(schema)
        self._key_names = schema.names if index is None else (*index.names, *schema.names)
        self._decodes = any(each is not None for each in (plan.filter, plan.projection, self._shown, self._projected))
        self._items: list[Item | orjson.Fragment] = []
        self._matched = 0
        self._scanned = 0
        self._bytes = 0
        self._fetched_units = 0.0
        self._last: bytes | None = None

    def add(self, text: bytes, size: int) -> bool:
        """Take the next item, JSON text of `size` bytes as an item; False: the page is full, the next begins behind."""
        self._scanned += 1
        if self._decodes:
            self._add_decoded(orjson.loads(text), size)
        else:
            self._bytes += size
            self._matched += 1
            if self._plan.select != "COUNT":
                self._items.append(orjson.Fragment(text))
        if self._scanned == self._plan.limit or self._bytes >= self._bytes_max:
            self._last = text
            return False
        return True

    @property
    def bytes_left(self) -> int:
        """How many bytes more it would take."""
        return self._bytes_max - self._bytes

    def _add_decoded(self, item: Item, size: int) -> None:
        plan = self._plan
        self._count_bytes(item, size)
        seen = item
        if self._shown is not None:
            seen = {name: value for name, value in item.items() if name in self._shown}
        if plan.filter is None or plan.filter.holds(seen):
            self._matched += 1
            if plan.select != "COUNT":
                self._items.append(seen if plan.projection is None else plan.projection.of(seen))

    def _count_bytes(self, item: Item, size: int) -> None:
        if self._projected is None:
            self._bytes += size
            return
        self._bytes += item_size({name: value for name, value in item.items() if name in self._projected})
        if self._shown is None:
            self._fetched_units += read_units(size, consistent=self._plan.consistent)

    def answer(self) -> bytes:
        """The response's body, JSON text. A page that was full has a `LastEvaluatedKey`, even if nothing follows it."""
        plan = self._plan
        answer: dict[str, Any] = {"Count": self._matched, "ScannedCount": self._scanned}
        if plan.select != "COUNT":
            answer["Items"] = self._items
        if self._last is not None:
            last = orjson.loads(self._last)
            answer["LastEvaluatedKey"] = {name: last[name] for name in self._key_names}
        if plan.capacity_detail != "NONE":
            capacity = Capacity(plan.table_name)
            capacity.add(read_units(self._bytes, consistent=plan.consistent), self._index)
            capacity.add(self._fetched_units)
            answer["ConsumedCapacity"] = capacity.to_wire(plan.capacity_detail)
        return orjson.dumps(answer)


def parse_get_item(body: Body) -> GetPlan:
    """GetItem's body as a plan."""
    name = fields.table_name(body)
    return get_of(name, body, fields.capacity_detail(body))


def get_of(name: str, body: Body, detail: str, place: str = "") -> GetPlan:
    """The read of one item that `body` holds, of table `name`."""
    key = fields.item(body, "Key", place)
    projection = projection_of(body)
    return GetPlan(name, key, projection, fields.flag(body, "ConsistentRead", default=False), detail)


def projection_of(body: Body, place: str = "") -> Projection | None:
    """The ProjectionExpression or AttributesToGet of a request without other expressions, which stands at `place`."""
    if _PROJECTION_FIELDS.isdisjoint(body):
        return None
    legacy.refuse_mixture(body, ("AttributesToGet",), ("ProjectionExpression",))
    expressions = Expressions(body, ("ProjectionExpression",))
    projection = expressions.projection()
    expressions.finish()
    return legacy.attributes_to_get(body, place) if projection is None else projection


def parse_query(body: Body) -> QueryPlan:
    """Query's body as a plan."""
    frame = _parse_frame(body)
    # Unlike the other legacy parameters, KeyConditions may stand beside a filter or projection expression.
    keyed = body.get("KeyConditionExpression") is not None
    refused = (*_QUERY_LEGACY, "KeyConditions") if keyed else _QUERY_LEGACY
    _check_parameters(body, refused, _QUERY_EXPRESSIONS, frame.select)
    filtered = legacy.condition(body, "QueryFilter")
    projection = legacy.attributes_to_get(body)
    start_key = _checked_start_key(body)
    if not keyed and body.get("KeyConditions") is None:
        raise wording.invalid(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    forward = fields.flag(body, "ScanIndexForward", default=True)
    return _plan(frame, body, _QUERY_EXPRESSIONS, filtered, projection, start_key, forward=forward)


def parse_scan(body: Body) -> QueryPlan:
    """Scan's body as a plan over the whole table or index, or over a segment of it."""
    frame = _parse_frame(body)
    for field, least in (("Segment", 0), ("TotalSegments", 1)):
        _check_bounds(field, fields.integer(body, field), least, SEGMENTS_MAX - 1 + least)
    _check_parameters(body, _SCAN_LEGACY, _SCAN_EXPRESSIONS, frame.select)
    projection = legacy.attributes_to_get(body)
    filtered = legacy.condition(body, "ScanFilter")
    start_key = _checked_start_key(body)
    segment = _parse_segment(body)
    return _plan(frame, body, _SCAN_EXPRESSIONS, filtered, projection, start_key, forward=True, segment=segment)


def _parse_segment(body: Body) -> tuple[int, int]:
    segment, count = fields.integer(body, "Segment"), fields.integer(body, "TotalSegments")
    if segment is None and count is None:
        return 0, 1
    if count is None:
        raise wording.invalid(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter "
            "is present"
        )
    if segment is None:
        raise wording.invalid(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments "
            "is present"
        )
    if segment >= count:
        message = "The Segment parameter is zero-based and must be less than parameter TotalSegments"
        raise InvalidRequest(f"{message}: Segment: {segment} is not less than TotalSegments: {count}", message)
    return segment, count


def _check_bounds(field: str, value: int | None, least: int, most: int | None = None) -> None:
    if value is None or (value >= least and (most is None or value <= most)):
        return
    bound = f"greater than or equal to {least}" if value < least else f"less than or equal to {most}"
    broken = f"failed to satisfy constraint: Member must have value {bound}"
    raise InvalidRequest(
        f"1 validation error detected: Value '{value}' at '{field[0].lower()}{field[1:]}' {broken}",
        f"1 validation error detected: Value at '{field}' {broken}",
    )


class _Frame(NamedTuple):
    """What a request for a page has whose constraints come before all else."""

    table_name: str
    index_name: str | None
    limit: int | None
    select: str | None
    capacity_detail: str


def _parse_frame(body: Body) -> _Frame:
    name = fields.table_name(body)
    index_name = None if body.get("IndexName") is None else fields.index_name(body)
    limit = fields.integer(body, "Limit")
    _check_bounds("Limit", limit, 1)
    select = fields.choice(body, "Select", fields.SELECTS, "") or None
    detail = fields.capacity_detail(body)
    return _Frame(name, index_name, limit, select, detail)


def _check_parameters(body: Body, older: Sequence[str], expression_fields: Sequence[str], select: str | None) -> None:
    """Refuse parameters that do not go together, whatever they hold."""
    legacy.refuse_mixture(body, older, expression_fields)
    if not any(body.get(field) is not None for field in expression_fields):
        Expressions(body, expression_fields)
    _check_select(body, select)


def _plan(
    frame: _Frame,
    body: Body,
    expression_fields: Sequence[str],
    filtered: tuple[Condition, frozenset[str]] | None,
    projection: Projection | None,
    start_key: Item | None,
    *,
    forward: bool,
    segment: tuple[int, int] = (0, 1),
) -> QueryPlan:
    keyed = legacy.key_condition(body)
    expressions = Expressions(body, expression_fields)
    expressions.condition("KeyConditionExpression")
    condition = expressions.condition("FilterExpression")
    filter_attributes = expressions.condition_attributes("FilterExpression")
    projection = expressions.projection() or projection
    expressions.finish()
    key_condition, values = (expressions.key_condition(), expressions.values) if keyed is None else keyed
    if filtered is not None:
        condition, filter_attributes = filtered
    return QueryPlan(
        frame.table_name,
        frame.index_name,
        key_condition,
        values,
        condition,
        filter_attributes,
        projection,
        start_key,
        forward,
        frame.limit,
        frame.select,
        fields.flag(body, "ConsistentRead", default=False),
        frame.capacity_detail,
        segment,
        keyed is not None,
    )


def _check_select(body: Body, select: str | None) -> None:
    field = "ProjectionExpression" if body.get("ProjectionExpression") is not None else "AttributesToGet"
    projected = body.get(field) is not None
    if select == "SPECIFIC_ATTRIBUTES" and not projected:
        raise _invalid_select(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
        )
    if select is not None and projected and select != "SPECIFIC_ATTRIBUTES":
        wanted = "only the Count" if select == "COUNT" else select
        raise _invalid_select(f"Cannot specify the {field} when choosing to get {wanted}")
    if select == "ALL_PROJECTED_ATTRIBUTES" and body.get("IndexName") is None:
        raise _invalid_select("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")


def _invalid_select(message: str) -> ServiceError:
    return InvalidRequest(message, f"1 validation error detected: {message}")


def _checked_start_key(body: Body) -> Item | None:
    value = body.get("ExclusiveStartKey")
    if value is None:
        return None
    try:
        return checked_item(value)
    except ServiceError as error:
        # Numbers, and sets of them or with duplicates, are reported without saying where they stood.
        if error.message.startswith(_PLACED) and not any(each in error.message for each in _UNPLACED):
            raise InvalidRequest(
                f"The provided starting key is invalid: {error.message}", newer_message(error)
            ) from None
        raise
