"""Secondary indexes as CreateTable and UpdateTable declare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from afterwrite.table import fields, wording
from afterwrite.table.fields import Body, Violations
from afterwrite.table.schema import ALL, GLOBAL, INCLUDE, KEYS_ONLY, LOCAL, IndexSchema, KeyAttribute, KeySchema
from afterwrite.table.vector_indexes import VectorIndex

GLOBAL_INDEXES_MAX = 20
LOCAL_INDEXES_MAX = 5
INCLUDED_ATTRIBUTES_MAX = 100
INCLUDED_OF_INDEX_MAX = 20
# Of a table and of a local index: only a global one may have several attributes in its partition or sort key.
KEY_ELEMENTS_MAX = 2
_KEY_ATTRIBUTES_MAX = 4
_PROJECTIONS = (ALL, INCLUDE, KEYS_ONLY)
_KEY_TYPES = ("HASH", "RANGE")
_ATTRIBUTE_TYPES = ("B", "N", "S")
_FIELDS = {GLOBAL: "GlobalSecondaryIndexes", LOCAL: "LocalSecondaryIndexes"}


def check_elements(
    violations: Violations, elements: Sequence[Body] | None, place: str, length_max: int | None = None
) -> None:
    """Note what is wrong with a `KeySchema` of at most `length_max` members, each by itself."""
    if elements is None:
        violations.add(None, place, "Member must not be null")
        return
    if not elements:
        violations.add("[]", place, "Member must have length greater than or equal to 1")
    for index, element in enumerate(elements, 1):
        violations.name(element, "AttributeName", f"{place}.{index}.member.attributeName")
        violations.choice(element, "KeyType", _KEY_TYPES, f"{place}.{index}.member.keyType")
    if length_max is not None and len(elements) > length_max:
        violations.add(_shown(elements), place, f"Member must have length less than or equal to {length_max}")


def _shown(elements: Sequence[Body]) -> str:
    shown = (
        f"KeySchemaElement(attributeName={each.get('AttributeName')}, keyType={each.get('KeyType')})"
        for each in elements
    )
    return f"[{', '.join(shown)}]"


def check_definitions(violations: Violations, definitions: Sequence[Body]) -> None:
    """Note what is wrong with the members of `AttributeDefinitions`, each by itself."""
    for index, definition in enumerate(definitions, 1):
        member = f"attributeDefinitions.{index}.member"
        violations.name(definition, "AttributeName", f"{member}.attributeName")
        violations.choice(definition, "AttributeType", _ATTRIBUTE_TYPES, f"{member}.attributeType")


def attribute_types(definitions: Sequence[Body]) -> dict[str, str]:
    """The type of each attribute that `AttributeDefinitions` has, by name."""
    types: dict[str, str] = {}
    for each in definitions:
        name, kind = str(each["AttributeName"]), str(each["AttributeType"])
        if name in types:
            raise wording.invalid(f"Attribute Name is duplicated: {name}")
        types[name] = kind
    return types


def check_index(violations: Violations, index: Body, place: str, scope: str = GLOBAL) -> None:
    """Note what is wrong with an index's fields, each by itself."""
    violations.index_name(index, f"{place}.indexName")
    elements = fields.structures(index, "KeySchema", "KeySchemaElement")
    check_elements(violations, elements, f"{place}.keySchema", KEY_ELEMENTS_MAX if scope == LOCAL else None)
    check_projection(violations, index, place)


def check_projection(violations: Violations, index: Body, place: str) -> None:
    """Note what is wrong with the fields of an index's `Projection`."""
    projection = fields.structure(index, "Projection", "Projection")
    if projection is None:
        violations.add(None, f"{place}.projection", "Member must not be null")
        return
    if projection.get("ProjectionType") is not None:
        violations.choice(projection, "ProjectionType", _PROJECTIONS, f"{place}.projection.projectionType")
    included = fields.texts(projection, "NonKeyAttributes")
    if included is None:
        return
    if not included:
        violations.add(
            "[]", f"{place}.projection.nonKeyAttributes", "Member must have length greater than or equal to 1"
        )
    if len(included) > INCLUDED_OF_INDEX_MAX:
        violations.add(
            f"[{', '.join(included)}]",
            f"{place}.projection.nonKeyAttributes",
            f"Member must have length less than or equal to {INCLUDED_OF_INDEX_MAX}",
        )
    for number, name in enumerate(included, 1):
        violations.name({"Name": name}, "Name", f"{place}.projection.nonKeyAttributes.{number}.member")


def check_indexes(violations: Violations, body: Body) -> None:
    """Note what is wrong with the fields of all indexes of a CreateTable."""
    for scope, field in _FIELDS.items():
        place = f"{field[0].lower()}{field[1:]}"
        for number, index in enumerate(fields.structures(body, field, field.removesuffix("es")) or (), 1):
            check_index(violations, index, f"{place}.{number}.member", scope)


def parse_indexes(body: Body, table: KeySchema, types: Mapping[str, str]) -> tuple[IndexSchema, ...]:
    """The indexes that a CreateTable declares, the local ones first. Raises ServiceError (ValidationException)."""
    local = _listed(body, LOCAL)
    global_ = _listed(body, GLOBAL)
    if local and table.sort_key is None:
        raise wording.invalid_parameter(
            "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
        )
    parsed = tuple(
        parse_index(index, scope, table, types)
        for scope, listed in ((LOCAL, local), (GLOBAL, global_))
        for index in listed
    )
    seen: set[str] = set()
    for index in parsed:
        if index.name in seen:
            raise wording.invalid_parameter(f"Duplicate index name: {index.name}")
        seen.add(index.name)
    if len(local) > LOCAL_INDEXES_MAX:
        raise wording.invalid_parameter(
            f"Number of LocalSecondaryIndexes exceeds per-table limit of {LOCAL_INDEXES_MAX}"
        )
    if len(global_) > GLOBAL_INDEXES_MAX:
        raise wording.invalid_parameter(
            f"GlobalSecondaryIndex count exceeds the per-table limit of {GLOBAL_INDEXES_MAX}"
        )
    if sum(len(index.included) for index in parsed) > INCLUDED_ATTRIBUTES_MAX:
        raise wording.invalid_parameter(
            f"Total number of NonKeyAttributes in all indexes exceeds the limit of {INCLUDED_ATTRIBUTES_MAX}"
        )
    return parsed


def _listed(body: Body, scope: str) -> Sequence[Body]:
    listed = fields.structures(body, _FIELDS[scope], _FIELDS[scope].removesuffix("es"))
    if listed is not None and not listed:
        raise wording.invalid_parameter(f"List of {_FIELDS[scope]} is empty")
    return listed or ()


def parse_index(index: Body, scope: str, table: KeySchema, types: Mapping[str, str]) -> IndexSchema:
    """One index; `types` are those of the attributes that the request defines."""
    name = str(index["IndexName"])
    elements = index["KeySchema"]
    names = [str(each["AttributeName"]) for each in elements]
    if any(each not in types for each in names):
        raise wording.invalid_parameter(
            f"Some index key attributes are not defined in AttributeDefinitions. "
            f"Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(types)}]"
        )
    _check_order(elements, names)
    attributes = {
        key_type: tuple(
            KeyAttribute(each["AttributeName"], types[each["AttributeName"]])
            for each in elements
            if each["KeyType"] == key_type
        )
        for key_type in _KEY_TYPES
    }
    if scope == LOCAL:
        _check_local(name, table, names, attributes)
    for key_type, found in attributes.items():
        if len(found) > _KEY_ATTRIBUTES_MAX:
            raise wording.invalid_parameter(
                f"The KeySchema exceeds the maximum allowed number of {key_type} key attributes"
            )
    projection, included = projection_of(index["Projection"])
    return IndexSchema(name, scope, attributes["HASH"], attributes["RANGE"], projection, included)


def _check_order(elements: Sequence[Body], names: Sequence[str]) -> None:
    if elements[0]["KeyType"] != "HASH":
        raise wording.invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(set(names)) != len(names):
        if [each["KeyType"] for each in elements] == ["HASH", "RANGE"]:
            raise wording.invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
        raise wording.invalid(
            "Invalid KeySchema: The KeySchema contains multiple key attributes with the same name (duplicate)"
        )
    kinds = [each["KeyType"] for each in elements]
    if kinds != sorted(kinds):
        raise wording.invalid_parameter("All HASH key attributes must precede RANGE key attributes in the KeySchema")


def _check_local(
    name: str, table: KeySchema, names: Sequence[str], attributes: Mapping[str, tuple[KeyAttribute, ...]]
) -> None:
    if not attributes["RANGE"]:
        raise wording.invalid_parameter(f"Index KeySchema does not have a range key for index: {name}")
    if names[0] != table.partition_key:
        raise wording.invalid_parameter(
            f"Index KeySchema does not have the same leading hash key as table KeySchema for index: "
            f"{name}. index hash key: {names[0]}, table hash key: {table.partition_key}"
        )


def projection_of(projection: Body) -> tuple[str, tuple[str, ...]]:
    """What an index projects: ALL, KEYS_ONLY or INCLUDE, and the further attributes of INCLUDE."""
    kind = projection.get("ProjectionType")
    included = projection.get("NonKeyAttributes")
    if kind is None:
        raise wording.invalid_parameter("Unknown ProjectionType: null")
    if kind == INCLUDE and included is None:
        raise wording.invalid_parameter("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
    if kind != INCLUDE and included is not None:
        raise wording.invalid_parameter(f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    names = tuple(included or ())
    for number, name in enumerate(names):
        if name in names[:number]:
            raise wording.invalid_parameter(f"Duplicate element in NonKeyAttributes: {name}")
    return kind, names


def check_new(
    index: IndexSchema | VectorIndex, table: KeySchema, existing: Sequence[IndexSchema | VectorIndex]
) -> None:
    """Refuse an index whose name there is, or that has an attribute in another type than the table."""
    if any(each.name == index.name for each in existing):
        raise wording.invalid("Attempting to create an index which already exists")
    for attribute in index.attributes:
        for known in (table.type_of(attribute.name), *(each.type_of(attribute.name) for each in existing)):
            if known is not None and known != attribute.type:
                raise wording.invalid_parameter(
                    f"Attributes cannot be redefined. Please check that your attribute has the same "
                    f"type as previously defined. Existing schema: {attribute.name}:{known} "
                    f"New schema: {attribute.name}:{attribute.type}"
                )


def check_definitions_used(definitions: Mapping[str, str], table: KeySchema, indexed: Iterable[str]) -> None:
    """Refuse definitions of attributes that are in no key; `indexed` are the names that indexes have."""
    keys_of_indexes = list(indexed)
    used = {*table.names, *keys_of_indexes}
    if len(definitions) == len(used):
        return
    if not keys_of_indexes:
        raise wording.invalid_parameter(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )
    raise wording.invalid_parameter(
        f"Some AttributeDefinitions are not used. "
        f"AttributeDefinitions: [{', '.join(sorted(definitions))}], keys used: [{', '.join(sorted(used))}]"
    )
