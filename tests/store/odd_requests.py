"""What makes a request in order wrong, or only unusual."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Final, TypeAlias

Body: TypeAlias = dict[str, Any]


def writes_of(operation: str, body: Body) -> list[Body]:
    """The writes of a request that is in order: itself, or a transaction's members."""
    if operation != "TransactWriteItems":
        return [body]
    return [write for member in body["TransactItems"] for write in member.values()]


def mutate(chosen: random.Random, operation: str, body: Body) -> None:
    """Change something of a request in order: most is then wrong, some only unusual."""
    if operation == "TransactWriteItems" and chosen.random() < 0.4:
        _mutate_transaction(chosen, body)
    else:
        _mutate_write(chosen, chosen.choice(writes_of(operation, body)))


_FIELDS: Final[Sequence[tuple[str, Any]]] = (
    ("ReturnValues", "NONE"),
    ("ReturnValues", "ALL_OLD"),
    ("ReturnValues", "ALL_NEW"),
    ("ReturnValues", "UPDATED_NEW"),
    ("ReturnValues", "odd"),
    ("ReturnValuesOnConditionCheckFailure", "ALL_OLD"),
    ("ReturnValuesOnConditionCheckFailure", "NONE"),
    ("ReturnConsumedCapacity", "NONE"),
    ("ReturnConsumedCapacity", "TOTAL"),
    ("ReturnConsumedCapacity", "INDEXES"),
    ("ReturnItemCollectionMetrics", "SIZE"),
    ("Unknown", 1),
    ("Expected", {"n": {"Exists": False}}),
    ("ConditionalOperator", "AND"),
    ("AttributeUpdates", {"n": {"Action": "PUT", "Value": {"N": "1"}}}),
    ("ConditionExpression", None),
    ("ConditionExpression", ""),
    ("ConditionExpression", "attribute_exists(pk"),
    ("ConditionExpression", 7),
    ("UpdateExpression", None),
    ("UpdateExpression", ""),
    ("UpdateExpression", "SET n"),
    ("UpdateExpression", "SET pk = sk"),
    ("UpdateExpression", "REMOVE sk"),
    ("UpdateExpression", "SET n = n SET k = k"),
    ("ExpressionAttributeNames", {}),
    ("ExpressionAttributeNames", None),
    ("ExpressionAttributeNames", []),
    ("ExpressionAttributeValues", {}),
    ("ExpressionAttributeValues", None),
    ("ExpressionAttributeValues", {"v": {"N": "1"}}),
    ("TableName", None),
    ("TableName", "no"),
    ("TableName", "absent"),
    ("TableName", "single"),
    ("TableName", "both"),
    ("TableName", "arn:aws:dynamodb:us-east-1:000000000000:table/both"),
    ("Key", {}),
    ("Key", None),
    ("Key", {"pk": {"S": "a"}}),
    ("Key", {"pk": {"S": ""}, "sk": {"S": "s"}}),
    ("Key", {"pk": {"S": "a"}, "sk": {"N": "1"}}),
    ("Key", {"pk": {"S": "a"}, "sk": {"S": "s"}, "n": {"N": "1"}}),
    ("Key", {"pk": "a", "sk": {"S": "s"}}),
    ("Key", {"pk": {"S": "a", "N": "1"}, "sk": {"S": "s"}}),
    ("Item", {"pk": {"S": "a"}, "sk": {"S": "s"}, "": {"N": "1"}}),
    ("Item", {"pk": {"S": "a"}, "sk": {"S": "s"}, "x": {}}),
    ("Item", {"pk": {"S": "a"}, "sk": {"S": "s"}, "x": {"SS": ["a", "a"]}}),
    ("Item", {"pk": {"S": "a"}, "sk": {"S": "s"}, "x": {"NULL": False}}),
    ("Item", None),
)
_ODD_VALUES: Final[Sequence[Any]] = (
    None,
    {},
    "a",
    {"N": 1},
    {"N": "1e2"},
    {"N": "1.0"},
    {"N": "x"},
    {"S": None},
    {"S": "a", "N": "1"},
    {"X": "a"},
    {"SS": []},
    {"SS": ["a"]},
    {"B": "YR=="},
    {"M": {}},
    {"S": "a"},
    {"N": "1"},
    {"BOOL": "true"},
    {"NULL": True},
)


def _mutate_write(chosen: random.Random, write: Body) -> None:
    names, values = (write.get(f"ExpressionAttribute{each}") or {} for each in ("Names", "Values"))
    roll = chosen.random()
    if values and roll < 0.1:
        del values[chosen.choice(list(values))]
    elif values and roll < 0.4:
        values[chosen.choice(list(values))] = deepcopy(chosen.choice(_ODD_VALUES))
    elif names and roll < 0.47:
        del names[chosen.choice(list(names))]
    elif names and roll < 0.55:
        names[chosen.choice(list(names))] = chosen.choice(["", "pk", "sk", "n", "m", "m.a", "x" * 300, None, 1])
    elif roll < 0.6:
        write["ExpressionAttributeValues"] = values | {":unused": {"N": "1"}}
    elif roll < 0.65:
        write["ExpressionAttributeNames"] = names | {"#unused": "n"}
    elif roll < 0.7:
        del write[chosen.choice(list(write))]
    elif "Item" in write and roll < 0.8:
        write["Item"][chosen.choice(list(write["Item"]))] = deepcopy(chosen.choice(_ODD_VALUES))
    else:
        field, value = chosen.choice(_FIELDS)
        write[field] = deepcopy(value)


def _mutate_transaction(chosen: random.Random, body: Body) -> None:
    members = body["TransactItems"]
    key = {"pk": {"S": "a"}, "sk": {"S": "s"}}
    mutations: Sequence[Callable[[], object]] = (
        lambda: members.append(deepcopy(chosen.choice(members))),
        lambda: members.append({}),
        lambda: members.append({"Unknown": {}}),
        lambda: members.append({"Delete": {"TableName": "both", "Key": key}}),
        lambda: members.extend(_puts(101)),
        lambda: members.extend(_puts(60)),
        members.clear,
        lambda: members[0].update({"Delete": None}),
        lambda: members[0].update({"Put": {"TableName": "both", "Item": key}}),
        lambda: members.append(None),
        lambda: members.append({"ConditionCheck": {"TableName": "both", "Key": key}}),
        lambda: members.append({"Update": {"TableName": "both", "Key": key}}),
        lambda: body.update(ClientRequestToken=""),
        lambda: body.update(ClientRequestToken="x" * 36),
        lambda: body.update(ClientRequestToken="x" * 37),
        lambda: body.update(ClientRequestToken="é\n"),
        lambda: body.update(ClientRequestToken=None),
        lambda: body.update(ClientRequestToken=1),
        lambda: body.update(ReturnConsumedCapacity="TOTAL"),
        lambda: body.update(ReturnConsumedCapacity="NONE"),
        lambda: body.update(ReturnItemCollectionMetrics="SIZE"),
        lambda: body.update(Unknown=1),
        lambda: body.update(TransactItems=None),
        lambda: body.update(TransactItems={}),
    )
    chosen.choice(mutations)()


def _puts(count: int) -> list[Body]:
    keys = ({"pk": {"S": "many"}, "sk": {"S": str(number)}} for number in range(count))
    return [{"Put": {"TableName": "none", "Item": key}} for key in keys]
