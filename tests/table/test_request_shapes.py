"""The JSON types of requests: as in the service's own model, and looked at before anything else."""

from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from afterwrite.config import Identity
from afterwrite.errors import ServiceError
from afterwrite.store.operations import Operations
from afterwrite.table import request_shapes

MODEL = botocore.session.get_session().get_service_model("dynamodb")
PACKAGE = "com.amazonaws.dynamodb.v20120810"
# Of vectors the service reads requests in another way; the others have nothing that is looked at.
WITHOUT_TYPES = {"SearchVectors", "DescribeLimits", "DescribeEndpoints"}
# What the service has had since botocore 1.44: the model of an older one, as the AWS CLI pins it, has not.
NEWER = {
    "CreateTable": {"TableThroughputMode": "String"},
    "UpdateTable": {"DisassociationProtectionEnabled": "Boolean", "TableThroughputMode": "String"},
    "ReplicationGroupUpdate": {"Disassociate": "DisassociateReplicationGroupMemberAction"},
}


def written(shape: Any) -> str:
    """A shape of the model as types are written here."""
    if shape.type_name == "list":
        return f"[{written(shape.member)}]"
    if shape.type_name == "map":
        return f"{{{written(shape.value)}}}"
    return str(shape.name if shape.type_name == "structure" else shape.type_name.capitalize())


def structures(shape: Any, seen: dict[str, Any]) -> None:
    """Collect the structures that a shape of the model consists of."""
    if shape.type_name == "structure" and shape.name not in seen:
        seen[shape.name] = shape
        for member in shape.members.values():
            structures(member, seen)
    elif shape.type_name in ("list", "map"):
        structures(shape.member if shape.type_name == "list" else shape.value, seen)


def offered() -> list[str]:
    names = set(Operations(Identity()).names()) & set(MODEL.operation_names) - WITHOUT_TYPES
    return sorted(names)


@pytest.mark.parametrize("operation", offered())
def test_bodies_have_the_types_of_the_service_s_model(operation: str) -> None:
    body: Any = MODEL.operation_model(operation).input_shape
    parts: dict[str, Any] = {}
    structures(body, parts)
    parts[operation] = parts.pop(body.name)
    for name, shape in parts.items():
        # Times are of listings that have nothing to list.
        types = {field: written(each) for field, each in shape.members.items() if each.type_name != "timestamp"}
        assert request_shapes.members(name) == {**NEWER.get(name, {}), **types}, name


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        (
            "PutItem",
            {"Item": []},
            f"Unrecognized collection type java.util.Map<java.lang.String, {PACKAGE}.AttributeValue>",
        ),
        ("PutItem", {"TableName": "a", "Item": {"p": 1}}, "Unexpected value type in payload"),
        ("PutItem", {"Expected": {"p": {"Value": "x"}}}, "Unexpected field type"),
        ("GetItem", {"Key": {"p": {"S": 1.5}}}, "DECIMAL_VALUE cannot be converted to String"),
        ("GetItem", {"TableName": "", "ConsistentRead": "yes, please"}, "Unexpected token received from parser"),
        ("Query", {"Limit": "1"}, "STRING_VALUE cannot be converted to Integer"),
        ("Query", {"KeyConditions": {"p": []}}, f"Unrecognized collection type class {PACKAGE}.Condition"),
        ("UpdateItem", {"Key": {"p": {"B": {}}}}, "Start of structure or map found where not expected"),
        (
            "DeleteItem",
            {"Key": {"p": {"L": [{"BS": ["abc"]}]}}},
            "Base64 encoded length is expected a multiple of 4 bytes but found: 3",
        ),
        ("PutItem", {"Item": {"p": {"B": "=+/="}}}, "Invalid last non-pad Base64 character dectected"),
        (
            "BatchWriteItem",
            {"RequestItems": []},
            f"Unrecognized collection type java.util.Map<java.lang.String, java.util.List<{PACKAGE}.WriteRequest>>",
        ),
        (
            "CreateTable",
            {"ProvisionedThroughput": {"ReadCapacityUnits": True}},
            "TRUE_VALUE cannot be converted to Long",
        ),
        ("TransactWriteItems", {"TransactItems": [{"Put": 1}]}, "Unexpected field type"),
        ("TagResource", {"Tags": ["x"]}, "Unexpected value type in payload"),
    ],
)
def test_a_wrong_type_comes_before_all_else_that_is_wrong(operation: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(ServiceError) as refused:
        Operations(Identity()).prepare(operation, body)
    assert (refused.value.code, refused.value.message) == ("SerializationException", message)


@pytest.mark.parametrize("body", [{"RequestItems": {"t": "x"}}, {"RequestItems": {"t": 1}}], ids=["text", "number"])
def test_what_is_no_list_in_a_map_is_told_as_the_service_does(body: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match=r"ParameterizedTypeImpl cannot be cast to class java\.lang\.Class"):
        Operations(Identity()).prepare("BatchWriteItem", body)
