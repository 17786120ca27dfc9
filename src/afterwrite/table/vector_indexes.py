"""Vector indexes: what they declare, which items are in them, and how near two vectors are.

A vector is a list of as many numbers as the index has dimensions, each within the range of a 32-bit float.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from operator import mul
from typing import Any, Final, TypeAlias

from afterwrite.core.values import AttributeValue, Item
from afterwrite.errors import ServiceError
from afterwrite.table import wording
from afterwrite.table.index_keys import check_index_keys
from afterwrite.table.schema import (
    ALL,
    GLOBAL,
    IndexedAttributes,
    IndexSchema,
    KeyAttribute,
    KeySchema,
    projection_to_wire,
)

COSINE, DOT_PRODUCT, EUCLIDEAN = "COSINE", "DOT_PRODUCT", "EUCLIDEAN"
DISTANCE_FUNCTIONS: Final = (DOT_PRODUCT, COSINE, EUCLIDEAN)
HASH, INLINE_FILTER = "HASH", "INLINE_FILTER"

# Digits that tell any two 32-bit floats apart.
_FLOAT_DIGITS_MAX: Final = 9
_PLAIN_EXPONENT_MIN, _PLAIN_EXPONENT_MAX = -6, 12

Vector: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class VectorIndex(IndexedAttributes):
    """A vector index. A search of it names the value of its `partition`, if it has one, and may name `filters`.

    `projection` is ALL, KEYS_ONLY or INCLUDE, `included` the further attributes of INCLUDE.
    """

    name: str
    attribute: str
    dimensions: int
    distance: str
    projection: str = ALL
    included: tuple[str, ...] = ()
    partition: KeyAttribute | None = None
    filters: tuple[KeyAttribute, ...] = ()

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """The attributes of the search schema, whose types its table defines."""
        return self.filters if self.partition is None else (self.partition, *self.filters)

    def projected_names(self, table: KeySchema) -> frozenset[str] | None:
        """The attributes that an item of the index has; None where it has all."""
        if self.projection == ALL:
            return None
        return frozenset((*table.names, self.attribute, *self.names, *self.included))

    def vector_of(self, item: Mapping[str, AttributeValue]) -> Vector | None:
        """The item's vector; None where the item is not in the index.

        That is so where it has none, or lacks the partition's attribute, or has an attribute of the search schema in
        another type, as items may that are older than the index.
        """
        for each in self.attributes:
            value = item.get(each.name)
            if value is None and each is not self.partition:
                continue
            if value is None or each.type not in value or (each is self.partition and not value[each.type]):
                return None
        value = item.get(self.attribute)
        return None if value is None else vector(value, self.dimensions)

    def check(self, item: Mapping[str, AttributeValue], old: Mapping[str, AttributeValue] | None = None) -> None:
        """Refuse an item that the index could not take. What an update leaves as it was in `old` is not looked at."""
        value = item.get(self.attribute)
        changed = old is None or old.get(self.attribute) != value
        if value is not None and changed and vector(value, self.dimensions) is None:
            raise self._no_vector(value)
        if self.partition is not None:
            check_index_keys([IndexSchema(self.name, GLOBAL, (self.partition,), ())], item, old)
        for each in self.filters:
            value = item.get(each.name)
            if value is not None and each.type not in value and (old is None or old.get(each.name) != value):
                raise wording.invalid_parameter(
                    f"Type mismatch for Index Key {each.name} Expected: {each.type} "
                    f"Actual: {next(iter(value))} IndexName: {self.name}"
                )

    def _no_vector(self, value: AttributeValue) -> ServiceError:
        invalid, number = "One or more parameter values were invalid. Invalid", "32-bit floating point number"
        elements = value.get("L")
        if elements is None:
            return wording.invalid(
                f"{invalid} type for parameter {self.attribute}, Expected: {number} list IndexName: {self.name}"
            )
        if len(elements) != self.dimensions:
            return wording.invalid(
                f"{invalid} size for parameter {self.attribute}, Expected: {self.dimensions}, Actual: {len(elements)} "
                f"IndexName: {self.name}"
            )
        at = next(at for at, element in enumerate(elements) if vector({"L": [element]}, 1) is None)
        return wording.invalid(
            f"{invalid} type for parameter {self.attribute}[{at}], Expected: {number}, "
            f"Actual: {next(iter(elements[at]))}. IndexName: {self.name}"
        )

    def entry_of(self, table: KeySchema, item: Mapping[str, AttributeValue] | None) -> Item | None:
        """What the index has of an item; None where the item is not in it."""
        if item is None or self.vector_of(item) is None:
            return None
        names = self.projected_names(table)
        return {name: value for name, value in item.items() if names is None or name in names}

    def to_wire(self) -> dict[str, Any]:
        """What of an index description the index declares."""
        described: dict[str, Any] = {
            "IndexName": self.name,
            "VectorAttribute": {"AttributeName": self.attribute},
            "Dimensions": self.dimensions,
            "DistanceFunction": self.distance,
            "Projection": projection_to_wire(self.projection, self.included),
        }
        if self.attributes:
            described["SearchSchema"] = [
                {
                    "AttributeName": each.name,
                    "SearchSchemaElementType": HASH if each is self.partition else INLINE_FILTER,
                }
                for each in self.attributes
            ]
        return described

    def to_json(self) -> dict[str, Any]:
        """The index as the catalog keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> VectorIndex:
        """Read an index of the catalog."""
        partition = fields["partition"]
        return cls(
            **{
                **fields,
                "included": tuple(fields["included"]),
                "partition": partition and KeyAttribute(**partition),
                "filters": tuple(KeyAttribute(**each) for each in fields["filters"]),
            }
        )


def check_vectors(
    indexes: Sequence[VectorIndex],
    item: Mapping[str, AttributeValue],
    old: Mapping[str, AttributeValue] | None = None,
) -> None:
    """Refuse an item that an index could not take; `old` is what an update starts from."""
    for index in indexes:
        index.check(item, old)


def vector(value: AttributeValue, dimensions: int) -> Vector | None:
    """The numbers of a list of `dimensions` numbers, as 32-bit floats; None for anything else."""
    elements = value.get("L")
    if elements is None or len(elements) != dimensions:
        return None
    try:
        return as_float32(float(element["N"]) for element in elements)
    except (KeyError, OverflowError):
        return None


def as_float32(numbers: Any) -> Vector:
    """The numbers rounded to 32-bit floats. Raises OverflowError."""
    given = tuple(numbers)
    # Without the byte order numbers that are too large would become infinite.
    layout = f"<{len(given)}f"
    return struct.unpack(layout, struct.pack(layout, *given))


def vector_to_wire(numbers: Vector) -> AttributeValue:
    """A vector as an attribute's value: numbers of as few digits as tell their 32-bit floats, and one past the point.

    A number that is very large or very small has an exponent.
    """
    return {"L": [{"N": _written(number)} for number in numbers]}


def _written(number: float) -> str:
    shortest = _shortest(number)
    exponent = shortest.adjusted()
    if not number or _PLAIN_EXPONENT_MIN <= exponent <= _PLAIN_EXPONENT_MAX:
        text = f"{shortest:f}"
        return text if "." in text else f"{text}.0"
    return f"{shortest.scaleb(-exponent).normalize():f}e{exponent}"


def _shortest(number: float) -> Decimal:
    for digits in range(1, _FLOAT_DIGITS_MAX):
        text = f"{number:.{digits}g}"
        if as_float32([float(text)]) == (number,):
            return Decimal(text)
    return Decimal(f"{number:.{_FLOAT_DIGITS_MAX}g}")


def score(distance: str, one: Vector, other: Vector) -> float:
    """How near two vectors are: the nearer, the less for COSINE (0 to 2) and EUCLIDEAN, the more for DOT_PRODUCT."""
    if distance == EUCLIDEAN:
        return math.dist(one, other)
    product: float = sum(map(mul, one, other))
    if distance == DOT_PRODUCT:
        return product
    lengths = math.hypot(*one) * math.hypot(*other)
    # A vector of zeros has no direction: it is as far as one at a right angle.
    return min(max(1 - product / lengths, 0.0), 2.0) if lengths else 1.0


def told_score(number: float) -> float:
    """A score as a search tells it: rounded to a 32-bit float, where it is not too large for one."""
    try:
        return as_float32([number])[0]
    except OverflowError:
        return number
