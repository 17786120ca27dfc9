"""What tables keep and tell, and nobody heeds: resource-based policies, contributor insights."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.errors import ServiceError
from embedded import Dynamo

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/things"
POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:GetItem"}]}'
OTHER = '{"Version": "2012-10-17", "Statement": []}'
TABLE: dict[str, Any] = {
    "TableName": "things",
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-sk",
            "KeySchema": [{"AttributeName": "sk", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"},
    "BillingMode": "PAY_PER_REQUEST",
}


def code(dynamo: Dynamo, operation: str, **body: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as refused:
        dynamo(operation, **body)
    return refused.value.code, refused.value.message


def test_a_policy_is_kept_told_and_deleted(dynamo: Dynamo) -> None:
    stream = dynamo("CreateTable", **TABLE)["TableDescription"]["LatestStreamArn"]
    for arn in (ARN, stream):
        revision = dynamo("PutResourcePolicy", ResourceArn=arn, Policy=POLICY)
        assert dynamo("PutResourcePolicy", ResourceArn=arn, Policy=POLICY) == revision
        assert dynamo("GetResourcePolicy", ResourceArn=arn) == {"Policy": POLICY, **revision}
        assert dynamo("DeleteResourcePolicy", ResourceArn=arn) == revision
        assert dynamo("DeleteResourcePolicy", ResourceArn=arn) == {}
        assert code(dynamo, "GetResourcePolicy", ResourceArn=arn)[0] == "PolicyNotFoundException"


def test_a_table_is_created_with_its_policy_and_takes_it_along(dynamo: Dynamo) -> None:
    dynamo("CreateTable", **TABLE, ResourcePolicy=POLICY)
    assert dynamo("GetResourcePolicy", ResourceArn=ARN)["Policy"] == POLICY
    dynamo("DeleteTable", TableName="things")
    assert code(dynamo, "GetResourcePolicy", ResourceArn=ARN) == (
        "ResourceNotFoundException",
        "Requested resource not found: Table: things not found",
    )
    dynamo("CreateTable", **TABLE)
    assert code(dynamo, "GetResourcePolicy", ResourceArn=ARN) == (
        "PolicyNotFoundException",
        f"Resource-based policy not found for the provided ResourceArn: {ARN}",
    )


def test_a_policy_changes_only_as_it_is_expected(dynamo: Dynamo) -> None:
    dynamo("CreateTable", **TABLE)
    expected = {"ResourceArn": ARN, "Policy": POLICY, "ExpectedRevisionId": "1"}
    assert code(dynamo, "PutResourcePolicy", **expected)[0] == "PolicyNotFoundException"
    first = dynamo("PutResourcePolicy", **{**expected, "ExpectedRevisionId": "NO_POLICY"})["RevisionId"]
    for wrong, told in (
        (
            "1",
            "Requested update for policy with revision id 1, but the policy associated to target table things has "
            f"revision id {first}.",
        ),
        (
            "NO_POLICY",
            "Requested policy update expecting none to be present for table things, but a policy exists with "
            f"revision id {first}.",
        ),
    ):
        refusal = (
            "PolicyNotFoundException",
            f"Resource-based policy not found for the provided ResourceArn: {told}",
        )
        assert code(dynamo, "PutResourcePolicy", **{**expected, "ExpectedRevisionId": wrong}) == refusal
        assert code(dynamo, "DeleteResourcePolicy", ResourceArn=ARN, ExpectedRevisionId=wrong) == refusal
    second = dynamo("PutResourcePolicy", ResourceArn=ARN, Policy=OTHER, ExpectedRevisionId=first)["RevisionId"]
    assert second > first
    assert dynamo("GetResourcePolicy", ResourceArn=ARN) == {"Policy": OTHER, "RevisionId": second}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "2 validation errors detected: Value null at 'resourceArn' .*; Value null at 'policy'"),
        ({"ResourceArn": "", "Policy": POLICY}, "'' at 'resourceArn' .* greater than or equal to 1"),
        ({"ResourceArn": "a" * 1284, "Policy": POLICY}, "'resourceArn' .* less than or equal to 1283"),
        ({"ResourceArn": ARN, "Policy": POLICY, "ExpectedRevisionId": ""}, "'' at 'expectedRevisionId'"),
        ({"ResourceArn": "things", "Policy": POLICY}, "ARNs must start with 'arn:': things"),
        ({"ResourceArn": f"{ARN}/index/by-sk", "Policy": POLICY}, "only table or stream is accepted"),
        ({"ResourceArn": ARN, "Policy": "no"}, "Invalid policy document: "),
        ({"ResourceArn": ARN, "Policy": "{}"}, "Invalid policy document: "),
        ({"ResourceArn": ARN, "Policy": POLICY + " " * 20_480}, "20 KB"),
    ],
)
def test_policies_that_are_refused(dynamo: Dynamo, body: Any, message: str) -> None:
    dynamo("CreateTable", **TABLE)
    with pytest.raises(ServiceError, match=message) as refused:
        dynamo("PutResourcePolicy", **body)
    assert refused.value.code == "ValidationException"


def test_insights_are_switched_described_and_listed(dynamo: Dynamo) -> None:
    dynamo("CreateTable", **TABLE)
    named = {"TableName": "things", "IndexName": "by-sk"}
    enabled = {"ContributorInsightsStatus": "ENABLED", "ContributorInsightsMode": "ACCESSED_AND_THROTTLED_KEYS"}
    throttled = {"ContributorInsightsStatus": "ENABLED", "ContributorInsightsMode": "THROTTLED_KEYS"}
    assert dynamo("UpdateContributorInsights", TableName="things", ContributorInsightsAction="ENABLE") == {
        "TableName": "things",
        **enabled,
        "ContributorInsightsStatus": "ENABLING",
    }
    dynamo(
        "UpdateContributorInsights",
        **named,
        ContributorInsightsAction="ENABLE",
        ContributorInsightsMode="THROTTLED_KEYS",
    )
    described = dynamo("DescribeContributorInsights", TableName="things")
    assert {name: described[name] for name in enabled} == enabled
    assert [rule.split("-")[1] for rule in described["ContributorInsightsRuleList"]] == ["PKC", "SKC", "PKT", "SKT"]
    of_index = dynamo("DescribeContributorInsights", **named)
    assert [rule.split("-")[1] for rule in of_index["ContributorInsightsRuleList"]] == ["PKT"]
    first = dynamo("ListContributorInsights", MaxResults=1)
    assert first["ContributorInsightsSummaries"] == [{"TableName": "things", **enabled}]
    second = dynamo("ListContributorInsights", TableName="things", MaxResults=1, NextToken=first["NextToken"])
    assert second == {"ContributorInsightsSummaries": [{**named, **throttled}]}
    off = dynamo("UpdateContributorInsights", TableName="things", ContributorInsightsAction="DISABLE")
    assert off["ContributorInsightsStatus"] == "DISABLING"
    assert dynamo("DescribeContributorInsights", TableName="things")["ContributorInsightsStatus"] == "DISABLED"
    assert dynamo("ListContributorInsights") == {"ContributorInsightsSummaries": [{**named, **throttled}]}


@pytest.mark.parametrize(
    ("operation", "body", "code_", "message"),
    [
        (
            "UpdateContributorInsights",
            {"TableName": "things", "ContributorInsightsAction": "START"},
            "ValidationException",
            r"Value 'START' at 'contributorInsightsAction' .* enum value set: \[ENABLE, DISABLE\]",
        ),
        (
            "UpdateContributorInsights",
            {"TableName": "nothing", "ContributorInsightsAction": "ENABLE"},
            "ResourceNotFoundException",
            "Table: nothing not found",
        ),
        (
            "DescribeContributorInsights",
            {"TableName": "things", "IndexName": "none"},
            "ResourceNotFoundException",
            "Index: none not found",
        ),
        ("ListContributorInsights", {"NextToken": "?"}, "ValidationException", "Invalid NextToken"),
        ("ListContributorInsights", {"MaxResults": 101}, "ValidationException", "'101' at 'maxResults'"),
    ],
)
def test_insights_that_are_refused(dynamo: Dynamo, operation: str, body: Any, code_: str, message: str) -> None:
    dynamo("CreateTable", **TABLE)
    with pytest.raises(ServiceError, match=message) as refused:
        dynamo(operation, **body)
    assert refused.value.code == code_
