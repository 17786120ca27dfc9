"""SearchVectors: its request as a plan, and what of a table's items it answers."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import ServiceError
from afterwrite.table import fields, wording
from afterwrite.table.attribute_values import checked_value, serialization_error, token_name
from afterwrite.table.capacity import VECTOR_BYTES_MIN, VECTOR_ELEMENT_BYTES
from afterwrite.table.expressions import Expressions
from afterwrite.table.fields import Body
from afterwrite.table.projections import Projection
from afterwrite.table.schema import KeySchema
from afterwrite.table.vector_indexes import (
    DOT_PRODUCT,
    Vector,
    VectorIndex,
    score,
    told_score,
    vector,
    vector_to_wire,
)

TOP_MAX: Final = 100
# What the service reads a required field as.
_READ_AS: Final[Mapping[str, str]] = {
    "TableName": "a string",
    "IndexName": "a string",
    "SearchVector": "a sequence",
    "TopK": "i32",
}
_EXPRESSIONS: Final = ("SearchConditionExpression", "ProjectionExpression")
_NO_NUMBER: Final = (
    "Search vector contains invalid values. "
    "All values in the search vector must be a 32-bit floating-point number attribute"
)


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A vector search: the vector, how many items at most, and the values that they must have by attribute."""

    table_name: str
    index_name: str
    given: AttributeValue
    top: int
    wanted: Mapping[str, AttributeValue]
    projection: Projection | None
    capacity_detail: str

    def answer(self, schema: KeySchema, index: VectorIndex, texts: Iterable[bytes]) -> bytes:
        """The response's body, JSON text; `texts` are the table's items. Raises ServiceError (ValidationException)."""
        searched = self._vector(index)
        self._check_condition(index)
        sign = -1 if index.distance == DOT_PRODUCT else 1
        found_bytes = 0

        def candidates() -> Iterable[tuple[float, int, Item, Vector]]:
            nonlocal found_bytes
            for number, text in enumerate(texts):
                item = orjson.loads(text)
                found = index.vector_of(item)
                if found is None or any(item.get(name) != value for name, value in self.wanted.items()):
                    continue
                found_bytes += VECTOR_ELEMENT_BYTES * index.dimensions
                yield sign * score(index.distance, searched, found), number, item, found

        nearest = heapq.nsmallest(self.top, candidates())
        answer: dict[str, Any] = {
            "SearchResults": [
                {"Item": self._shown(schema, index, item, found), "Score": told_score(sign * distance)}
                for distance, _, item, found in nearest
            ]
        }
        if self.capacity_detail != "NONE":
            answer["ConsumedCapacity"] = {"VectorSearchRequestBytes": max(found_bytes, VECTOR_BYTES_MIN)}
        return orjson.dumps(answer)

    def _vector(self, index: VectorIndex) -> Vector:
        dimensions = len(self.given["L"])
        found = vector(self.given, dimensions)
        if found is None:
            raise wording.invalid(_NO_NUMBER)
        if dimensions != index.dimensions:
            raise wording.invalid(
                f"Input search vector dimension {dimensions} does not match vector index dimension {index.dimensions}"
            )
        return found

    def _check_condition(self, index: VectorIndex) -> None:
        for name, value in self.wanted.items():
            kind = index.type_of(name)
            if kind is None:
                raise wording.invalid(
                    "SearchConditionExpression must not contain any attributes that is not in SearchSchema. "
                    f"Invalid attribute: {name}"
                )
            if kind not in value:
                raise wording.invalid_parameter("Condition parameter type does not match schema type")
        if index.partition is not None and not self.wanted:
            raise wording.invalid("SearchConditionExpression must be provided when SearchSchema has a HASH key")
        if index.partition is not None and index.partition.name not in self.wanted:
            raise wording.invalid_parameter(
                f"SearchConditionExpression must have an equality condition on the HASH attribute "
                f"{index.partition.name} of the index {index.name}"
            )

    def _shown(self, schema: KeySchema, index: VectorIndex, item: Item, found: Vector) -> Item:
        """What the index has of an item: its vector only where it is asked for, as the index has it."""
        names = index.projected_names(schema)
        shown = {name: value for name, value in item.items() if names is None or name in names}
        if self.projection is None:
            del shown[index.attribute]
            return shown
        if index.attribute in self.projection.attributes:
            shown[index.attribute] = vector_to_wire(found)
        return self.projection.of(shown)


def parse_search_vectors(body: Body) -> SearchPlan:
    """SearchVectors's body as a plan."""
    _check_shape(body)
    name = fields.table_name(body)
    index_name = fields.index_name(body)
    if index_name is None:
        raise _required("IndexName")
    given = _search_vector(body)
    top = _top(body)
    expressions = Expressions(body, _EXPRESSIONS)
    expressions.condition("SearchConditionExpression")
    projection = expressions.projection()
    expressions.finish()
    return SearchPlan(
        name,
        index_name,
        given,
        top,
        {attribute: expressions.values[value] for attribute, value in expressions.equalities()},
        projection,
        fields.capacity_detail(body),
    )


def _check_shape(body: Body) -> None:
    """Refuse what the service's reader of JSON does, before any field's value is looked at.

    It names the column it has come to, here as if the body had been sent without spaces.
    """
    for field, expected in _READ_AS.items():
        if field in body and body[field] is None:
            text, read = _as_text(body), f'"{field}":null'.encode()
            raise serialization_error(
                f"invalid type: null, expected {expected} at line 1 column {text.index(read) + len(read)}"
            )
    if "TableName" not in body:
        raise wording.invalid(f"missing field `TableName` at line 1 column {len(_as_text(body))}")


def _as_text(body: Body) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        # Deeper than any item may be.
        raise serialization_error("recursion limit exceeded") from None


def _search_vector(body: Body) -> AttributeValue:
    given = body.get("SearchVector")
    if given is None:
        raise _required("SearchVector")
    if type(given) is not list:
        raise serialization_error("Unexpected field type")
    if not given:
        raise wording.constraint_error("[]", "searchVector", "Member must have length greater than or equal to 1")
    try:
        return checked_value({"L": given})
    except ServiceError as error:
        if error.code != "ValidationException":
            raise
        raise wording.invalid(_NO_NUMBER) from None


def _top(body: Body) -> int:
    given = body.get("TopK")
    if given is None:
        raise _required("TopK")
    if type(given) is not int:
        raise serialization_error(f"{token_name(given)} cannot be converted to Integer")
    if given < 1:
        raise wording.constraint_error(given, "TopK", "Member must have value greater than or equal to 1")
    if given > TOP_MAX:
        raise wording.invalid(
            f"Provided TopK value '{given}' is out of valid range. The value must be between 1 and {TOP_MAX} inclusive"
        )
    return given


def _required(field: str) -> ServiceError:
    return wording.invalid(f"The parameter '{field}' is required but was not present in the request")
