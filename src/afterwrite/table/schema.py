"""A table's key schema, and the CreateTable fields that declare it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from afterwrite.errors import ServiceError


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The names and types (`S`, `N` or `B`) of a table's key attributes; a table may have no sort key."""

    partition_key: str
    partition_type: str
    sort_key: str | None = None
    sort_type: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The key attributes' names, the partition key first."""
        if self.sort_key is None:
            return (self.partition_key,)
        return (self.partition_key, self.sort_key)

    def type_of(self, name: str) -> str | None:
        """The type of the key attribute `name`, None where it is no key attribute."""
        if name == self.partition_key:
            return self.partition_type
        if name == self.sort_key:
            return self.sort_type
        return None

    def to_wire(self) -> dict[str, list[dict[str, str]]]:
        """The `KeySchema` and `AttributeDefinitions` of a table description."""
        elements = [{"AttributeName": self.partition_key, "KeyType": "HASH"}]
        definitions = [{"AttributeName": self.partition_key, "AttributeType": self.partition_type}]
        if self.sort_key is not None and self.sort_type is not None:
            elements.append({"AttributeName": self.sort_key, "KeyType": "RANGE"})
            definitions.append({"AttributeName": self.sort_key, "AttributeType": self.sort_type})
        return {"KeySchema": elements, "AttributeDefinitions": definitions}

    @classmethod
    def from_wire(cls, elements: Sequence[Mapping[str, Any]], definitions: Sequence[Mapping[str, Any]]) -> KeySchema:
        """Read CreateTable's `KeySchema` and `AttributeDefinitions`.

        Raises ServiceError (ValidationException) for a schema DynamoDB would refuse.
        """
        types = {str(each["AttributeName"]): str(each["AttributeType"]) for each in definitions}
        names = [str(each["AttributeName"]) for each in elements]
        if len(names) > len(definitions):
            raise _invalid("Invalid KeySchema: Some index key attribute have no definition")
        missing = [name for name in names if name not in types]
        if missing:
            raise _invalid(
                "One or more parameter values were invalid: Some index key attributes are not defined in "
                f"AttributeDefinitions. Keys: [{', '.join(names)}], AttributeDefinitions: [{', '.join(types)}]"
            )
        _check_elements(elements)
        if len(types) != len(names) or len(definitions) != len(types):
            raise _invalid(
                "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly "
                "match number of attributes defined in AttributeDefinitions"
            )
        if len(names) == 1:
            return cls(names[0], types[names[0]])
        return cls(names[0], types[names[0]], names[1], types[names[1]])


def _check_elements(elements: Sequence[Mapping[str, Any]]) -> None:
    if len(elements) > 1 and elements[0]["AttributeName"] == elements[1]["AttributeName"]:
        raise _invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    if elements[0]["KeyType"] != "HASH":
        raise _invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(elements) > 1 and elements[1]["KeyType"] != "RANGE":
        raise _invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")


def _invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)
