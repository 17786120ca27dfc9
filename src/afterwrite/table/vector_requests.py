"""Vector indexes as CreateTable and UpdateTable declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from afterwrite.errors import ServiceError
from afterwrite.table import fields, index_requests, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.schema import IndexSchema, KeyAttribute, KeySchema
from afterwrite.table.table_options import PAY_PER_REQUEST
from afterwrite.table.vector_indexes import DISTANCE_FUNCTIONS, HASH, INLINE_FILTER, VectorIndex

DIMENSIONS_MAX: Final = 4096
VECTOR_INDEXES_MAX: Final = 5
_FILTERS_MAX: Final = 18
# The vector attribute counts as a projected one, too.
_INCLUDED_MAX: Final = 19
_VECTOR_ATTRIBUTE_CHARACTERS_MAX: Final = 255
_ACTIONS: Final = ("Create", "Delete")


def declared(body: Body) -> Sequence[Body]:
    """The vector indexes that a CreateTable declares, as they stand there."""
    return fields.structures(body, "VectorIndexes", "VectorIndex") or ()


def check_vector_index(violations: Violations, index: Body, place: str) -> None:
    """Note what is wrong with a vector index's fields, each by itself."""
    violations.index_name(index, f"{place}.indexName")
    _check_attribute(violations, index, f"{place}.vectorAttribute")
    dimensions = fields.integer(index, "Dimensions")
    if dimensions is None:
        violations.add(None, f"{place}.dimensions", "Member must not be null")
    elif dimensions < 1:
        violations.add(dimensions, f"{place}.dimensions", "Member must have value greater than or equal to 1")
    violations.choice(index, "DistanceFunction", DISTANCE_FUNCTIONS, f"{place}.distanceFunction")
    index_requests.check_projection(violations, index, place)
    elements = _search_schema(index)
    if elements is not None and not elements:
        violations.add("[]", f"{place}.searchSchema", "Member must have length greater than or equal to 1")
    for number, element in enumerate(elements or (), 1):
        member = f"{place}.searchSchema.{number}.member"
        violations.name(element, "AttributeName", f"{member}.attributeName")
        violations.choice(
            element, "SearchSchemaElementType", (HASH, INLINE_FILTER), f"{member}.searchSchemaElementType"
        )


def check_vector_indexes(violations: Violations, body: Body) -> None:
    """Note what is wrong with the fields of all vector indexes of a CreateTable."""
    for number, index in enumerate(declared(body), 1):
        check_vector_index(violations, index, f"vectorIndexes.{number}.member")


def check_update(violations: Violations, update: Body, place: str) -> None:
    """Note what is wrong with the fields of a member of UpdateTable's `VectorIndexUpdates`."""
    for kind in _ACTIONS:
        action = fields.structure(update, kind, f"{kind}VectorIndexAction")
        if action is None:
            continue
        if kind == "Create":
            check_vector_index(violations, action, f"{place}.create")
        else:
            violations.index_name(action, f"{place}.delete.indexName")


def action_of(update: Body) -> tuple[str, Body]:
    """What a member of `VectorIndexUpdates` asks for: Create or Delete, and of what."""
    kinds = [kind for kind in _ACTIONS if update.get(kind) is not None]
    if not kinds:
        raise wording.invalid_parameter("One of VectorIndexUpdate.Create, VectorIndexUpdate.Delete must not be null")
    if len(kinds) > 1:
        raise wording.invalid_parameter("Only one vector index action is allowed per VectorIndexUpdate object")
    return kinds[0], update[kinds[0]]


def parse_vector_indexes(
    body: Body, table: KeySchema, indexes: Sequence[IndexSchema], types: Mapping[str, str]
) -> tuple[VectorIndex, ...]:
    """The vector indexes that a CreateTable declares beside `indexes`. Raises ServiceError (ValidationException)."""
    if body.get("VectorIndexes") == []:
        raise wording.invalid_parameter("List of VectorIndexes is empty")
    parsed: list[VectorIndex] = []
    for index in declared(body):
        vector_index = parse_vector_index(index, types)
        if vector_index.name in (*(each.name for each in indexes), *(each.name for each in parsed)):
            raise wording.invalid_parameter(f"Duplicate index name: {vector_index.name}")
        check_vector_attribute(vector_index, table, indexes, parsed)
        parsed.append(vector_index)
    if len(parsed) > VECTOR_INDEXES_MAX:
        raise wording.invalid_parameter(f"VectorIndex count exceeds the per-table limit of {VECTOR_INDEXES_MAX}")
    return tuple(parsed)


def created(
    index: Body,
    types: Mapping[str, str],
    table: KeySchema,
    indexes: Sequence[IndexSchema],
    vector_indexes: Sequence[VectorIndex],
) -> VectorIndex:
    """The vector index that an UpdateTable adds to those of the table. Raises ServiceError."""
    parsed = parse_vector_index(index, types)
    index_requests.check_new(parsed, table, (*indexes, *vector_indexes))
    keyed: list[KeySchema | IndexSchema] = [table, *indexes]
    for keys in keyed:
        element = _shown_element(keys, parsed.attribute)
        if element is not None:
            raise _redefined(element, _shown_vector(parsed))
    if _has_other_dimensions(parsed, vector_indexes):
        raise _conflicting(parsed, "It is the VectorAttribute of another index, with other dimensions.")
    check_vector_attribute(parsed, table, indexes, vector_indexes)
    if len(vector_indexes) == VECTOR_INDEXES_MAX:
        raise wording.limit_exceeded(
            "Subscriber limit exceeded: Number of vector secondary indexes exceeds per-table limit of "
            f"{VECTOR_INDEXES_MAX}"
        )
    return parsed


def check_keys(index: IndexSchema, vector_indexes: Sequence[VectorIndex]) -> None:
    """Refuse an index that an UpdateTable adds where one of its keys is a vector attribute."""
    for each in vector_indexes:
        element = _shown_element(index, each.attribute)
        if element is not None:
            raise _redefined(_shown_vector(each), element)


def _shown_element(keys: KeySchema | IndexSchema, name: str) -> str | None:
    """The element of `keys` with this name, as the service shows it; None where there is none."""
    for kind, attributes in (("HASH", keys.partition_attributes), ("RANGE", keys.sort_attributes)):
        for each in attributes:
            if each.name == name:
                return f"Schema:[SchemaElement: key{{{name}:{each.type}:{kind}}}]"
    return None


def _shown_vector(index: VectorIndex) -> str:
    return f"VectorIndexSchema:[VectorAttribute: key{{{index.attribute}:L:{index.dimensions}}}]"


def _redefined(existing: str, new: str) -> ServiceError:
    return wording.invalid_parameter(
        "Attributes cannot be redefined. Please check that your attribute has the same type as previously defined. "
        f"Existing schema: {existing} New schema: {new}"
    )


def parse_vector_index(index: Body, types: Mapping[str, str]) -> VectorIndex:
    """One vector index; `types` are those of the attributes that the request defines."""
    dimensions = fields.integer(index, "Dimensions") or 0
    if dimensions > DIMENSIONS_MAX:
        raise wording.invalid_parameter(f"Number of dimensions must be between 1 and {DIMENSIONS_MAX} inclusive.")
    projection, included = index_requests.projection_of(index["Projection"])
    if len(included) > _INCLUDED_MAX:
        raise wording.invalid_parameter(
            f"Number of projected attributes exceeds the limit of {_INCLUDED_MAX + 1} per vector index"
        )
    elements = _search_schema(index) or ()
    names = [str(each["AttributeName"]) for each in elements]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise wording.invalid_parameter("SearchSchema contains a duplicate AttributeName")
        if name not in types:
            raise wording.invalid_parameter("One element in SearchSchema is not defined in attribute definitions")
    by_kind = {
        kind: tuple(
            KeyAttribute(name, types[name])
            for name, each in zip(names, elements, strict=True)
            if each["SearchSchemaElementType"] == kind
        )
        for kind in (HASH, INLINE_FILTER)
    }
    for kind, most in ((HASH, 1), (INLINE_FILTER, _FILTERS_MAX)):
        count = len(by_kind[kind])
        if count > most:
            raise wording.invalid_parameter(
                f"Value '{count}' at 'SearchSchema' failed to satisfy constraint: "
                f"Member must have {kind} count less than or equal to {most}"
            )
    return VectorIndex(
        str(index["IndexName"]),
        str(index["VectorAttribute"]["AttributeName"]),
        dimensions,
        str(index["DistanceFunction"]),
        projection,
        included,
        next(iter(by_kind[HASH]), None),
        by_kind[INLINE_FILTER],
    )


def check_billing(indexes: Sequence[VectorIndex], billing_mode: str) -> None:
    """Refuse vector indexes of a table whose capacity is provisioned."""
    if indexes and billing_mode != PAY_PER_REQUEST:
        raise wording.invalid_parameter(f"Vector indexes are only supported for {PAY_PER_REQUEST} tables")


def without(indexes: Sequence[VectorIndex], name: str) -> tuple[VectorIndex, ...]:
    """The vector indexes but the one with this name. Raises ServiceError (ResourceNotFoundException)."""
    left = tuple(each for each in indexes if each.name != name)
    if len(left) == len(indexes):
        raise ServiceError("ResourceNotFoundException", "Requested resource not found")
    return left


def check_vector_attribute(
    index: VectorIndex, table: KeySchema, indexes: Sequence[IndexSchema], vector_indexes: Sequence[VectorIndex]
) -> None:
    """Refuse a vector attribute that is a key, or that another vector index has with other dimensions."""
    declared_in: list[KeySchema | IndexSchema | VectorIndex] = [table, *indexes, index, *vector_indexes]
    if any(each.type_of(index.attribute) is not None for each in declared_in):
        raise _conflicting(
            index, "An attribute cannot be defined in AttributeDefinitions when used as a VectorAttribute."
        )
    if _has_other_dimensions(index, vector_indexes):
        raise _conflicting(index, "All VectorIndexes on the same vector attribute must use the same dimensions.")


def _has_other_dimensions(index: VectorIndex, vector_indexes: Sequence[VectorIndex]) -> bool:
    return any(each.attribute == index.attribute and each.dimensions != index.dimensions for each in vector_indexes)


def _conflicting(index: VectorIndex, why: str) -> ServiceError:
    return wording.invalid_parameter(f"Conflicting attribute definition for '{index.attribute}'. {why}")


def _check_attribute(violations: Violations, index: Body, place: str) -> None:
    attribute = fields.structure(index, "VectorAttribute", "VectorAttributeDefinition")
    if attribute is None:
        violations.add(None, place, "Member must not be null")
        return
    name = fields.text(attribute, "AttributeName")
    if name is not None and len(name) > _VECTOR_ATTRIBUTE_CHARACTERS_MAX:
        longest = f"Member must have length less than or equal to {_VECTOR_ATTRIBUTE_CHARACTERS_MAX}"
        violations.add(name, f"{place}.attributeName", longest)
        return
    violations.name(attribute, "AttributeName", f"{place}.attributeName")


def _search_schema(index: Body) -> Sequence[Body] | None:
    return fields.structures(index, "SearchSchema", "SearchSchemaElement")
