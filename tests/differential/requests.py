"""Strategies for whole requests: an operation and its body, sound or with one fault."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from differential.expressions import (
    FAULTY_VALUES,
    KEY_VALUES,
    SETS,
    Draw,
    Value,
    Writer,
    chance,
    condition,
    damaged,
    key_condition,
    legacy_condition,
    percent,
    pick,
    projection,
    update,
    values,
)
from differential.schemas import INDEXES, KEYS

Body = dict[str, Any]
Request = tuple[str, Body]

FAULTS_IN_A_HUNDRED: Final = 20
_TABLES: Final = ("simple", "indexed", "indexed", "indexed", "binary")
_INDEX_KEYS: Final = {"g": "S", "h": "N", "l": "S"}
# What indexes show of the attributes that are no keys; the others show all.
_SHOWN: Final[dict[str, tuple[str, ...]]] = {"by-h": (), "by-l": ("a",)}
_EXPRESSIONS: Final = (
    "ConditionExpression",
    "UpdateExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
)
_ALL_KEYS: Final[dict[str, tuple[Body, ...]]] = {
    table: tuple(
        dict(zip(attributes, found, strict=True))
        for found in itertools.product(*(KEY_VALUES[kind] for kind in attributes.values()))
    )
    for table, attributes in KEYS.items()
}


def _requests(operation: str, body_of: Callable[[Writer, str], Body]) -> st.SearchStrategy[Request]:
    @st.composite
    def requests(draw: Draw) -> Request:
        name = pick(draw, _TABLES)
        writer = Writer(draw, _typed(name), fault=chance(draw, FAULTS_IN_A_HUNDRED))
        body = {"TableName": pick(draw, ("missing", "x", "no/name")) if writer.errs(3) else name}
        body |= body_of(writer, name)
        return operation, _finished(writer, body)

    return requests()


def _typed(table: str) -> dict[str, str]:
    return _INDEX_KEYS if table == "indexed" else {}


def _finished(writer: Writer, body: Body) -> Body:
    """Add the placeholders; spend the fault on them, or on an expression, where it is left."""
    if writer.names:
        body["ExpressionAttributeNames"] = writer.names
    if writer.values:
        body["ExpressionAttributeValues"] = writer.values
    written = [field for field in _EXPRESSIONS if field in body]
    if not written or not writer.errs(70):
        return body
    kind = percent(writer.draw)
    if kind < 70:
        field = pick(writer.draw, written)
        body[field] = damaged(writer.draw, body[field])
    elif kind < 85:
        body["ExpressionAttributeNames"] = {**writer.names, "#unused": "u"}
    elif len(writer.names) > 1:
        del writer.names[pick(writer.draw, tuple(writer.names))]
    elif len(writer.values) > 1:
        del writer.values[pick(writer.draw, tuple(writer.values))]
    return body


def _key(writer: Writer, table: str) -> Body:
    return _damaged_key(writer, dict(pick(writer.draw, _ALL_KEYS[table])))


def _keys(writer: Writer, table: str, count: int) -> list[Body]:
    keys = writer.draw(st.lists(st.sampled_from(_ALL_KEYS[table]), min_size=1, max_size=count, unique_by=id))
    if writer.errs(20):
        keys = [*keys, keys[0]]
    return [_damaged_key(writer, dict(key)) for key in keys]


def _damaged_key(writer: Writer, key: Body) -> Body:
    if not writer.errs(15):
        return key
    draw = writer.draw
    attribute = pick(draw, tuple(key))
    fault = percent(draw)
    if fault < 25:
        del key[attribute]
    elif fault < 40:
        key["extra"] = {"S": "x"}
    elif fault < 65:
        key[attribute] = pick(draw, ({"BOOL": True}, {"NULL": True}, {"SS": ["x"]}, {"M": {}}))
    elif fault < 85:
        key[attribute] = {"B" if "B" in key[attribute] else "S": ""}
    else:
        key[attribute] = pick(draw, FAULTY_VALUES)
    return key


def _item(writer: Writer, table: str, key: Body | None = None) -> Body:
    item = _key(writer, table) if key is None else key
    draw = writer.draw
    for attribute in draw(st.lists(st.sampled_from("abcghl"), max_size=4, unique=True)):
        kind = writer.typed.get(attribute)
        if writer.errs(5):
            item[attribute] = pick(draw, FAULTY_VALUES)
        elif kind is not None and not writer.errs(5):
            item[attribute] = pick(draw, KEY_VALUES[kind])
        else:
            item[attribute] = draw(values)
    return item


def _condition(writer: Writer, body: Body) -> None:
    if chance(writer.draw, 45):
        body["ConditionExpression"] = condition(writer)
    if chance(writer.draw, 15):
        body["ReturnValuesOnConditionCheckFailure"] = pick(writer.draw, ("ALL_OLD", "ALL_OLD", "NONE"))


def _any_condition(writer: Writer, body: Body) -> None:
    if chance(writer.draw, 85):
        _condition(writer, body)
        return
    body["Expected"] = _expected(writer)
    _conditional_operator(writer, body, "Expected")


def _conditional_operator(writer: Writer, body: Body, field: str) -> None:
    if (len(body[field]) > 1 and chance(writer.draw, 50)) or writer.errs(5):
        body["ConditionalOperator"] = pick(writer.draw, ("AND", "OR", "OR"))


def _expected(writer: Writer) -> Body:
    draw, found = writer.draw, {}
    for attribute in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True)):
        kind = percent(draw)
        if writer.errs(20):
            found[attribute] = pick(draw, ({}, {"Exists": True}, {"Exists": False, "Value": {"S": "x"}}))
        elif kind < 25:
            found[attribute] = {"Exists": False}
        elif kind < 50:
            found[attribute] = {"Value": draw(values)}
        elif kind < 55:
            found[attribute] = {"Exists": True, "Value": draw(values)}
        else:
            found[attribute] = legacy_condition(writer)
    return found


def _put(writer: Writer, table: str) -> Body:
    body: Body = {"Item": _item(writer, table)}
    _any_condition(writer, body)
    if chance(writer.draw, 30):
        body["ReturnValues"] = pick(writer.draw, ("ALL_NEW", "SOME")) if writer.errs(20) else "ALL_OLD"
    return body


def _delete(writer: Writer, table: str) -> Body:
    body: Body = {"Key": _key(writer, table)}
    _any_condition(writer, body)
    if chance(writer.draw, 50):
        body["ReturnValues"] = "UPDATED_OLD" if writer.errs(20) else "ALL_OLD"
    return body


def _update(writer: Writer, table: str) -> Body:
    draw = writer.draw
    body: Body = {"Key": _key(writer, table)}
    kind = percent(draw)
    if kind < 80:
        body["UpdateExpression"] = update(writer)
        _update_condition(writer, body)
    elif kind < 97:
        body["AttributeUpdates"] = _attribute_updates(writer)
        if {change.get("Action") for change in body["AttributeUpdates"].values()} == {"DELETE"}:
            body["Expected"] = {"pk": {"ComparisonOperator": "NOT_NULL"}}
        elif chance(draw, 30):
            body["Expected"] = _expected(writer)
            _conditional_operator(writer, body, "Expected")
    if chance(draw, 60):
        body["ReturnValues"] = pick(draw, ("NONE", "ALL_OLD", "ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"))
    return body


def _only_deletes(expression: str) -> bool:
    return not {"SET", "ADD"} & set(expression.upper().split())


def _update_condition(writer: Writer, body: Body) -> None:
    """The listed difference `deleting-from-no-item` changes what is stored; so such an update asks for its item."""
    if not _only_deletes(body["UpdateExpression"]):
        _condition(writer, body)
        return
    exists = "attribute_exists(pk)"
    body["ConditionExpression"] = f"{exists} AND {condition(writer, 0)}" if chance(writer.draw, 30) else exists


def _attribute_updates(writer: Writer) -> Body:
    draw, found = writer.draw, {}
    numbers: tuple[Value, ...] = ({"N": "1"}, {"N": "-1.5"}, {"N": "1e2"})
    for attribute in draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)):
        action = "SET" if writer.errs(10) else pick(draw, ("PUT", "ADD", "DELETE", None))
        change: Body = {} if action is None else {"Action": action}
        if writer.errs(10):
            change["Value"] = draw(values)
        elif action == "ADD":
            change["Value"] = pick(draw, (*numbers, *SETS))
        elif action == "DELETE" and chance(draw, 60):
            change["Value"] = pick(draw, SETS)
        elif action != "DELETE":
            change["Value"] = draw(values)
        found[attribute] = change
    return found


def _get(writer: Writer, table: str) -> Body:
    body: Body = {"Key": _key(writer, table)}
    _project(writer, body)
    return body


def _project(writer: Writer, body: Body) -> None:
    draw = writer.draw
    if chance(draw, 40):
        body["ProjectionExpression"] = projection(writer)
    elif chance(draw, 10) and not {"KeyConditionExpression", "FilterExpression"} & body.keys():
        body["AttributesToGet"] = draw(st.lists(st.sampled_from(("a", "b", "g", "pk")), min_size=1, unique=True))
    if chance(draw, 20) and str(body.get("IndexName", "")) not in ("by-h", "by-g-and-h"):
        body["ConsistentRead"] = True


def _page(writer: Writer, body: Body, legacy_filter: str, *, legacy: bool) -> None:
    draw = writer.draw
    index = body.get("IndexName", "")
    # A filter looks at no key of what is read, and at nothing that is not projected.
    plain = Writer(draw, {}, fault=False)
    plain.names, plain.values = writer.names, writer.values
    plain.attributes = _SHOWN.get(
        index, tuple(name for name in writer.attributes if name not in INDEXES.get(index, ()))
    )
    plain.reserved = index not in _SHOWN
    if writer.errs(10):
        plain.attributes = writer.attributes
    if legacy and plain.attributes and chance(draw, 50):
        attributes = draw(st.lists(st.sampled_from(plain.attributes), min_size=1, max_size=2, unique=True))
        body[legacy_filter] = {attribute: legacy_condition(writer) for attribute in attributes}
        _conditional_operator(writer, body, legacy_filter)
    elif not legacy and plain.attributes and chance(draw, 50):
        plain.fault, writer.fault = writer.fault, False
        body["FilterExpression"] = condition(plain, 1)
        plain.fault, writer.fault = False, plain.fault
    if chance(draw, 40):
        body["Limit"] = pick(draw, (0, -1)) if writer.errs(20) else pick(draw, (1, 2, 3, 5, 100))
    if chance(draw, 15):
        body["Select"] = "ALL_PROJECTED_ATTRIBUTES" if index else pick(draw, ("COUNT", "ALL_ATTRIBUTES"))
    elif not legacy and plain.attributes:
        _project(plain, body)


def _query(writer: Writer, table: str) -> Body:
    draw = writer.draw
    body: Body = {}
    attributes = KEYS[table]
    if table == "indexed" and chance(draw, 60):
        index = pick(draw, tuple(INDEXES))
        body["IndexName"], attributes = index, INDEXES[index]
    elif writer.errs(5):
        body["IndexName"] = pick(draw, ("by-nothing", "x"))
    legacy = chance(draw, 12)
    if legacy:
        body["KeyConditions"] = _key_conditions(writer, attributes)
    else:
        body["KeyConditionExpression"] = key_condition(writer, attributes)
    if chance(draw, 40):
        body["ScanIndexForward"] = pick(draw, (True, False, False))
    _page(writer, body, "QueryFilter", legacy=legacy)
    return body


def _key_conditions(writer: Writer, attributes: dict[str, str]) -> Body:
    draw = writer.draw
    (partition, kind), *sort = attributes.items()
    found: Body = {partition: {"ComparisonOperator": "EQ", "AttributeValueList": [pick(draw, KEY_VALUES[kind])]}}
    if sort and chance(draw, 60):
        name, kind = sort[0]
        operators = ("NE", "IN") if writer.errs(20) else ("EQ", "LE", "LT", "GE", "GT")
        operator = pick(draw, operators)
        found[name] = {"ComparisonOperator": operator, "AttributeValueList": [pick(draw, KEY_VALUES[kind])]}
    return found


def _scan(writer: Writer, table: str) -> Body:
    body: Body = {}
    if table == "indexed" and chance(writer.draw, 40):
        body["IndexName"] = pick(writer.draw, tuple(INDEXES))
    _page(writer, body, "ScanFilter", legacy=chance(writer.draw, 12))
    return body


puts = _requests("PutItem", _put)
deletes = _requests("DeleteItem", _delete)
updates = _requests("UpdateItem", _update)
gets = _requests("GetItem", _get)
queries = _requests("Query", _query)
scans = _requests("Scan", _scan)


def _writer(draw: Draw, table: str, *, fault: bool) -> Writer:
    return Writer(draw, _typed(table), fault=fault)


@st.composite
def _some_tables(draw: Draw) -> list[str]:
    found: list[str] = draw(st.lists(st.sampled_from(tuple(KEYS)), min_size=1, max_size=2, unique=True))
    return found


@st.composite
def _batch_writes(draw: Draw) -> Request:
    requests: Body = {}
    for name in draw(_some_tables()):
        writer = _writer(draw, name, fault=not requests and chance(draw, FAULTS_IN_A_HUNDRED))
        requests[name] = [
            {"PutRequest": {"Item": _item(writer, name, key)}} if chance(draw, 60) else {"DeleteRequest": {"Key": key}}
            for key in _keys(writer, name, 3)
        ]
        if writer.errs(10):
            requests[name] = pick(draw, ([], [{}]))
    return "BatchWriteItem", {"RequestItems": requests}


@st.composite
def _batch_gets(draw: Draw) -> Request:
    requests: Body = {}
    for name in draw(_some_tables()):
        writer = _writer(draw, name, fault=not requests and chance(draw, FAULTS_IN_A_HUNDRED))
        request: Body = {"Keys": _keys(writer, name, 3)}
        _project(writer, request)
        requests[name] = _finished(writer, request)
    return "BatchGetItem", {"RequestItems": requests}


@st.composite
def _transactions(draw: Draw, operation: str) -> Request:
    faulty = chance(draw, FAULTS_IN_A_HUNDRED)
    name = pick(draw, tuple(KEYS))
    keys = _keys(_writer(draw, name, fault=faulty and chance(draw, 20)), name, 3)
    members = []
    for number, key in enumerate(keys):
        writer = _writer(draw, name, fault=faulty and not number)
        members.append(_get_member(writer, key) if operation == "TransactGetItems" else _write_member(writer, key))
        members[-1] = {kind: _finished(writer, {"TableName": name, **body}) for kind, body in members[-1].items()}
    body: Body = {"TransactItems": members}
    if operation == "TransactWriteItems" and chance(draw, 10):
        body["ClientRequestToken"] = pick(draw, ("token-1", "token-2"))
    return operation, body


def _get_member(writer: Writer, key: Body) -> Body:
    body: Body = {"Key": key}
    if chance(writer.draw, 30):
        body["ProjectionExpression"] = projection(writer)
    return {"Get": body}


def _write_member(writer: Writer, key: Body) -> Body:
    kind = pick(writer.draw, ("Put", "Update", "Delete", "ConditionCheck"))
    body: Body = {"Item": _item(writer, "", key)} if kind == "Put" else {"Key": key}
    if kind == "Update":
        body["UpdateExpression"] = update(writer)
        _update_condition(writer, body)
    elif kind == "ConditionCheck":
        body["ConditionExpression"] = condition(writer)
    else:
        _condition(writer, body)
    return {kind: body}


batch_writes = _batch_writes()
batch_gets = _batch_gets()
transact_writes = _transactions("TransactWriteItems")
transact_gets = _transactions("TransactGetItems")
