"""The requests on several items: BatchGetItem, BatchWriteItem, TransactGetItems and TransactWriteItems."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from afterwrite.core.values import Item
from afterwrite.errors import ConditionalCheckFailed, ServiceError
from afterwrite.table import fields, legacy, wording
from afterwrite.table.attribute_values import checked_item, serialization_error
from afterwrite.table.capacity import Reporting
from afterwrite.table.fields import Body
from afterwrite.table.keys import checked_key
from afterwrite.table.reads import GetPlan, get_of, projection_of
from afterwrite.table.schema import KeySchema
from afterwrite.table.writes import (
    Delete,
    ItemWrite,
    Put,
    Update,
    delete_of,
    parse_member,
    repeated_update,
    reporting_of,
    unconditional_put,
)

BATCH_GETS_MAX = 100
BATCH_GET_BYTES_MAX = 16 * 1024 * 1024
BATCH_WRITES_MAX = 25
TRANSACTION_WRITES_MAX = 100
TRANSACTION_BYTES_MAX = 4 * 1024 * 1024
TOKEN_CHARACTERS_MAX = 36

# What the service says of a key of RequestItems that cannot name a table.
TABLE_NAMES = (
    "Map keys must satisfy constraint: [Member must have length less than or equal to 255, "
    "Member must have length greater than or equal to 3, "
    "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+]"
)

_MEMBER_KINDS = ("ConditionCheck", "Put", "Delete", "Update")


@dataclass(frozen=True, slots=True)
class BatchWritePlan:
    """Puts and deletes that succeed or fail each for itself."""

    writes: tuple[Put | Delete, ...]
    reporting: Reporting

    def key(self, write: Put | Delete, schema: KeySchema) -> Item:
        """The key of one of the writes, validated; of a put too, the service says no more than that it does not fit."""
        if isinstance(write, Put):
            return checked_key(schema, {name: write.item[name] for name in schema.names if name in write.item})
        return write.key(schema)

    def check_distinct(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Refuse two writes on one item; `keys` are the writes' table names and encoded keys."""
        if not _distinct(keys):
            raise wording.invalid("Provided list of item keys contains duplicates")


@dataclass(frozen=True, slots=True)
class BatchGetPlan:
    """Reads that succeed each for itself.

    `requests` are the parts of the body they came in, by table; `given_names` what the request calls the tables, by
    name or by ARN, and so the answer does.
    """

    gets: tuple[GetPlan, ...]
    requests: Mapping[str, Body]
    capacity_detail: str
    given_names: Mapping[str, str]

    def check_distinct(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Refuse two reads of one item; `keys` are the reads' table names and encoded keys."""
        if not _distinct(keys):
            raise wording.invalid("Provided list of item keys contains duplicates")

    def check_distinct_attributes(self) -> None:
        """Refuse two reads with the same key attributes, which needs no table."""
        self.check_distinct(
            (get.table_name, orjson.dumps(get.key_attributes, option=orjson.OPT_SORT_KEYS)) for get in self.gets
        )

    def unprocessed(self, gets: Iterable[GetPlan]) -> dict[str, Any]:
        """The `UnprocessedKeys` that ask for `gets` again."""
        left: dict[str, Any] = {}
        for get in gets:
            name = get.table_name
            request = left.setdefault(self.given_names[name], {**self.requests[name], "Keys": []})
            request["Keys"].append(get.key_attributes)
        return left


@dataclass(frozen=True, slots=True)
class TransactGetPlan:
    """Reads of one moment."""

    gets: tuple[GetPlan, ...]
    capacity_detail: str

    def check_distinct(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Refuse two reads of one item; `keys` are the reads' table names and encoded keys."""
        if not _distinct(keys):
            raise wording.invalid("Transaction request cannot include multiple operations on one item")

    def check_size(self, size: int) -> None:
        """Refuse to read more bytes than a transaction may."""
        if size > TRANSACTION_BYTES_MAX:
            raise wording.invalid("Transaction payload size cannot exceed 4 MB")


class TransactWritePlan(NamedTuple):
    """Writes that happen together or not at all.

    `token` is the request's ClientRequestToken; `fingerprint` tells whether a second request with the token asks
    for the same.
    """

    writes: tuple[ItemWrite, ...]
    token: str | None
    fingerprint: bytes
    reporting: Reporting

    def check_distinct(self, keys: Iterable[tuple[str, bytes]]) -> None:
        """Refuse two writes on one item; `keys` are the writes' table names and encoded keys."""
        if not _distinct(keys):
            raise wording.invalid("Transaction request cannot include multiple operations on one item")

    def check_size(self) -> None:
        """Refuse to put more bytes than a transaction may."""
        if sum(_written_bytes(write) for write in self.writes) > TRANSACTION_BYTES_MAX:
            raise wording.invalid("Transaction payload size cannot exceed 4 MB")


def cancellation_reason(error: ServiceError | None) -> dict[str, Any]:
    """A member's entry in a cancelled transaction's reasons; None is a member that was fine."""
    if error is None:
        return {"Code": "None"}
    if isinstance(error, ConditionalCheckFailed):
        reason: dict[str, Any] = {"Code": "ConditionalCheckFailed", "Message": error.message}
        if error.item:
            reason["Item"] = error.item
        return reason
    code = "ValidationError" if error.code == "ValidationException" else error.code
    return {"Code": code, "Message": error.message}


def parse_batch_write_item(body: Body) -> BatchWritePlan:
    """BatchWriteItem's body as a plan."""
    tables = fields.structure(body, "RequestItems", "WriteRequest")
    if tables is None:
        raise fields.missing("RequestItems")
    if not tables:
        raise wording.invalid("The requestItems parameter is required for BatchWriteItem")
    reporting = reporting_of(body)
    writes: list[Put | Delete] = []
    for table in tables:
        name = _table_of(tables, table)
        members = fields.structures(tables, table, "WriteRequest") or []
        violations = fields.Violations()
        note_numbers_of_writes(violations, {table: members})
        violations.check()
        writes.extend(
            _batch_member(name, member, f"requestItems.{table}.member.{index}.member.", reporting)
            for index, member in enumerate(members, 1)
        )
    if len(writes) > BATCH_WRITES_MAX:
        raise wording.invalid("Too many items requested for the BatchWriteItem call")
    return BatchWritePlan(tuple(writes), reporting)


def names_a_table(name: str) -> bool:
    """Whether a key of `RequestItems` may name a table, or is a table's ARN."""
    try:
        fields.checked_table_name(name)
    except ServiceError:
        return False
    return True


def shown(tables: Mapping[str, Any]) -> str:
    """`RequestItems` as an error about it shows them."""
    try:
        return orjson.dumps(tables).decode()
    except orjson.JSONEncodeError:
        # Deeper than any item may be.
        return f"{{{', '.join(tables)}}}"


def _table_of(tables: Mapping[str, Any], name: str) -> str:
    if not names_a_table(name):
        raise wording.constraint_error(shown(tables), "RequestItems", TABLE_NAMES)
    return fields.checked_table_name(name)


def _batch_member(name: str, member: Mapping[str, Any], place: str, reporting: Reporting) -> Put | Delete:
    put = fields.structure(member, "PutRequest", "PutRequest")
    delete = fields.structure(member, "DeleteRequest", "DeleteRequest")
    if put is not None and delete is None:
        return unconditional_put(name, put.get("Item"), reporting=reporting, place=f"{place}putRequest.")
    if delete is not None and put is None:
        return delete_of(name, {"Key": delete.get("Key")}, place=f"{place}deleteRequest.", reporting=reporting)
    # DynamoDB's words, although it is requests that it speaks of.
    raise wording.invalid(
        "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported datatypes"
    )


def parse_transact_write_items(body: Body) -> TransactWritePlan:
    """TransactWriteItems' body as a plan."""
    members = fields.structures(body, "TransactItems", "TransactWriteItem")
    _check_transaction_length(members)
    members = members or []
    token = fields.text(body, "ClientRequestToken")
    fingerprint = b""
    if token is not None:
        fields.check_length(len(token), "ClientRequestToken", 1, TOKEN_CHARACTERS_MAX, token)
        fingerprint = _fingerprint(members)
    reporting = reporting_of(body)
    plan = TransactWritePlan(_transaction_writes(members, reporting), token, fingerprint, reporting)
    plan.check_size()
    return plan


def _fingerprint(members: Sequence[Body]) -> bytes:
    try:
        text = orjson.dumps(members, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # Deeper than any item may be: what the body means need not be found out.
        raise serialization_error("the body is nested too deep") from None
    return blake2b(text, digest_size=16).digest()


def _transaction_writes(members: Sequence[Body], reporting: Reporting) -> tuple[ItemWrite, ...]:
    writes: list[ItemWrite] = []
    earlier: tuple[Body, Update] | None = None
    for index, member in enumerate(members, 1):
        body = member.get("Update")
        write: ItemWrite | None = None
        if earlier is not None and type(body) is dict and len(member) == 1:
            write = repeated_update(body, *earlier, _place("Update", index))
        if write is None:
            write = _transaction_member(member, index, reporting)
            earlier = (body, write) if type(body) is dict and isinstance(write, Update) else None
        writes.append(write)
    return tuple(writes)


def _transaction_member(member: Mapping[str, Any], index: int, reporting: Reporting) -> ItemWrite:
    kinds = [kind for kind in member if kind in _MEMBER_KINDS and member[kind] is not None]
    if not kinds:
        raise wording.invalid("Invalid Request: TransactWriteRequest should contain Delete or Put or Update request")
    if len(kinds) > 1:
        raise wording.invalid("TransactItems can only contain one of Check, Put, Update or Delete")
    kind = kinds[0]
    return parse_member(kind, fields.structure(member, kind, kind) or {}, _place(kind, index), reporting)


@cache
def _place(kind: str, index: int) -> str:
    """Where a transaction's member stands, for errors; there are a few hundred places."""
    return f"transactItems.{index}.member.{kind[0].lower()}{kind[1:]}."


def _written_bytes(write: ItemWrite) -> int:
    return write.size(write.item) if isinstance(write, Put) else 0


def _distinct(keys: Iterable[tuple[str, bytes]]) -> bool:
    seen = list(keys)
    return len(set(seen)) == len(seen)


def parse_batch_get_item(body: Body) -> BatchGetPlan:
    """BatchGetItem's body as a plan."""
    tables = fields.structure(body, "RequestItems", "KeysAndAttributes")
    if tables is None:
        raise fields.missing("RequestItems")
    if not tables:
        violations = fields.Violations()
        violations.at("RequestItems", "Member must have length greater than or equal to 1")
        violations.check()
    detail = fields.capacity_detail(body)
    gets: list[GetPlan] = []
    requests: dict[str, Body] = {}
    given_names: dict[str, str] = {}
    for table in tables:
        name = _table_of(tables, table)
        request = fields.structure(tables, table, "KeysAndAttributes") or {}
        keys = fields.structures(request, "Keys", "Key")
        place = f"requestItems.{table}.member."
        if keys is None:
            raise fields.missing("Keys", place)
        violations = fields.Violations()
        note_number_of_keys(violations, table, keys)
        violations.check()
        projection = projection_of(request, place)
        consistent = fields.flag(request, "ConsistentRead", default=False)
        known = [get.key_attributes for get in gets if get.table_name == name]  # by the table's other name
        requests[name] = request
        given_names[name] = table
        read = [GetPlan(name, checked_item(key), projection, consistent, detail) for key in keys]
        gets.extend(get for get in read if get.key_attributes not in known)
    if len(gets) > BATCH_GETS_MAX:
        raise wording.invalid("Too many items requested for the BatchGetItem call")
    _refuse_mixed_projections(requests.values())
    return BatchGetPlan(tuple(gets), requests, detail, given_names)


def note_number_of_keys(violations: fields.Violations, table: str, keys: Sequence[Any]) -> None:
    """Note keys of a batch read that are none, or too many for any batch."""
    place = f"RequestItems.{table}.member.Keys"
    if not keys:
        violations.at(place, "Member must have length greater than or equal to 1")
    if len(keys) > BATCH_GETS_MAX:
        violations.at(place, f"Member must have length less than or equal to {BATCH_GETS_MAX}")


def note_numbers_of_writes(violations: fields.Violations, tables: Mapping[str, Any]) -> None:
    """Note writes to a table that are none, or too many for any batch."""
    numbers = {table: len(members) for table, members in tables.items() if type(members) is list}
    if all(1 <= number <= BATCH_WRITES_MAX for number in numbers.values()):
        return
    shown = ", ".join(f"{table}=[{f'{number} requests' if number else ''}]" for table, number in numbers.items())
    violations.add(
        f"{{{shown}}}",
        "requestItems",
        f"Map value must satisfy constraint: [Member must have length less than or equal to {BATCH_WRITES_MAX}, "
        "Member must have length greater than or equal to 1]",
    )


def _refuse_mixed_projections(requests: Iterable[Body]) -> None:
    """What must not be mixed for one table must not be mixed for several."""
    mixed = {
        name: request[name]
        for request in requests
        for name in ("AttributesToGet", "ProjectionExpression")
        if request.get(name) is not None
    }
    legacy.refuse_mixture(mixed, ("AttributesToGet",), ("ProjectionExpression",))


def parse_transact_get_items(body: Body) -> TransactGetPlan:
    """TransactGetItems' body as a plan."""
    members = fields.structures(body, "TransactItems", "TransactGetItem")
    _check_transaction_length(members)
    detail = fields.capacity_detail(body)
    gets: list[GetPlan] = []
    for index, member in enumerate(members or (), 1):
        place = f"transactItems.{index}.member.get"
        get = fields.structure(member, "Get", "Get")
        if get is None:
            raise fields.missing(place)
        name = fields.table_name(get, f"{place}.")
        gets.append(get_of(name, get, detail, f"{place}."))
    return TransactGetPlan(tuple(gets), detail)


def _check_transaction_length(members: Sequence[Any] | None) -> None:
    if members is None:
        raise fields.missing("TransactItems")
    if not members:
        raise wording.constraint_error("[]", "TransactItems", "Member must have length greater than or equal to 1")
    if len(members) > TRANSACTION_WRITES_MAX:
        raise wording.constraint_error(
            f"[{len(members)} items]",
            "TransactItems",
            f"Member must have length less than or equal to {TRANSACTION_WRITES_MAX}",
        )
