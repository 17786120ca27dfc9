"""Roles and policies: each role does what its function does, on the resources that it does it on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from afterwrite.core.sending import Sender
from afterwrite.remote.dynamodb_ledger import DynamoDBLedger
from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes
from afterwrite.synth.document import ACCOUNT, PARTITION, REGION, JsonObject, Ref, Resource, Text, join
from afterwrite.synth.stack import Stack
from afterwrite.targets.email import Email
from afterwrite.targets.eventbridge import EventBus
from afterwrite.targets.firehose import FirehoseStream
from afterwrite.targets.lambda_function import LambdaFunction
from afterwrite.targets.opensearch import OpenSearchIndex
from afterwrite.targets.s3 import S3AuditLog
from afterwrite.targets.sms import Sms
from afterwrite.targets.sns import SnsTopic
from afterwrite.targets.sqs import SqsQueue

ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "AppendAudit": S3AuditLog.actions,
    # Converse needs no other (S39).
    "AskModels": ("bedrock:InvokeModel",),
    "DeliverEvents": ("firehose:PutRecord", "firehose:PutRecordBatch"),
    "DeliverRecords": FirehoseStream.actions,
    "InvokeFunctions": LambdaFunction.actions,
    "KeepFailures": ("s3:PutObject",),
    "KeepLedger": DynamoDBLedger.actions,
    "ListFailures": ("s3:ListBucket",),
    "ParkLanes": DynamoDBParkedLanes.actions,
    "PublishFailures": ("sns:Publish",),
    "PublishMessages": SnsTopic.actions,
    "PutEvents": EventBus.actions,
    "ReadKinesis": (
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
    ),
    "ReadStream": ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"),
    "ReceiveMessages": (
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:ReceiveMessage",
    ),
    "SendDeadLetters": ("sqs:SendMessage",),
    "SendFailures": ("sqs:SendMessage",),
    "SendMessages": SqsQueue.actions,
    "UseTables": (
        "dynamodb:ConditionCheckItem",
        "dynamodb:DeleteItem",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
        "dynamodb:Scan",
        "dynamodb:UpdateItem",
    ),
    "WriteSearchIndexes": OpenSearchIndex.actions,
    "WriteLogs": ("logs:CreateLogStream", "logs:PutLogEvents"),
}
"""What is done, by the statement's id, and the actions that it takes."""

WITHOUT_RESOURCE: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "ListStreamsKnowsNoResource": (
        ("dynamodb:ListStreams",),
        "the poller of a mapping or a Pipe lists streams, an action that is granted on all or none",
    ),
    "ListKinesisStreamsKnowsNoResource": (
        ("kinesis:ListStreams",),
        "the poller of a mapping or a Pipe lists streams, an action that is granted on all or none",
    ),
}
"""The statements on `*`: their actions, and the reason why no resource can be named."""


def allow(what: str, *resources: Text) -> dict[str, Any]:
    """The statement that allows what `ACTIONS` names on the resources."""
    return {
        "Sid": what,
        "Effect": "Allow",
        "Action": list(ACTIONS[what]),
        "Resource": resources[0] if len(resources) == 1 else list(resources),
    }


def allow_without_resource(what: str) -> dict[str, Any]:
    """The statement for actions that know no resource."""
    return {"Sid": what, "Effect": "Allow", "Action": list(WITHOUT_RESOURCE[what][0]), "Resource": "*"}


def sending(senders: Iterable[Sender]) -> list[dict[str, Any]]:
    """The statements that let a function send to AWS's own targets among the senders."""
    emails = {each.sender.addr_spec: each for each in senders if isinstance(each, Email) and each.over_ses}
    statements: list[dict[str, Any]] = [
        {
            "Sid": f"SendEmails{number or ''}",
            "Effect": "Allow",
            "Action": list(Email.actions),
            # The address is sent from by its own identity or by its domain's, whichever was verified.
            "Resource": [
                *(_ses("identity", identity) for identity in (address, email.sender.domain)),
                *([_ses("configuration-set", email.configuration_set)] if email.configuration_set else []),
            ],
            "Condition": {"StringEquals": {"ses:FromAddress": address}},
        }
        for number, (address, email) in enumerate(emails.items())
    ]
    if any(isinstance(each, Sms) for each in senders):
        # A phone number has no ARN: what is allowed is all that is no topic, subscription or application of SNS.
        topics = join("arn:", Ref(PARTITION), ":sns:*:*:*")
        statements.append({"Sid": "SendTexts", "Effect": "Allow", "Action": list(Sms.actions), "NotResource": topics})
    return statements


def _ses(kind: str, name: str) -> Text:
    return join("arn:", Ref(PARTITION), ":ses:", Ref(REGION), ":", Ref(ACCOUNT), f":{kind}/{name}")


def reading_stream(stream: Text) -> list[dict[str, Any]]:
    """What a mapping or a Pipe of a table's stream takes."""
    return [allow("ReadStream", stream), allow_without_resource("ListStreamsKnowsNoResource")]


def reading_kinesis(stream: Text) -> list[dict[str, Any]]:
    """What a mapping or a Pipe of a Kinesis stream takes."""
    return [allow("ReadKinesis", stream), allow_without_resource("ListKinesisStreamsKnowsNoResource")]


def keeping_failures(bucket: Text) -> list[dict[str, Any]]:
    """What a mapping takes whose failures go to the bucket."""
    return [allow("KeepFailures", below(bucket)), allow("ListFailures", bucket)]


def role(
    stack: Stack,
    id: str,
    service: str,
    description: str,
    statements: Iterable[Mapping[str, Any]],
    *,
    source: tuple[str, Text] | None = None,
    managed_policies: Any = None,
) -> Resource:
    """A role that the service takes on; `source` (a condition key and its value) says on whose behalf only."""
    condition = None if source is None else {"StringEquals": {source[0]: source[1]}}
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if condition is not None:
        trust["Condition"] = condition
    return stack.add(
        id,
        "AWS::IAM::Role",
        {
            "Description": description,
            "AssumeRolePolicyDocument": JsonObject(document([trust])),
            "ManagedPolicyArns": managed_policies,
            "Policies": [{"PolicyName": "does", "PolicyDocument": JsonObject(document(list(statements)))}],
        },
    )


def document(statements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A policy of the statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def only_encrypted(action: str, *resources: Text) -> dict[str, Any]:
    """The statement of a resource's policy that refuses whoever comes without TLS."""
    return {
        "Sid": "OnlyEncrypted",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": resources[0] if len(resources) == 1 else list(resources),
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def may_send(sid: str, service: str, queue: Text, sources: Sequence[Text]) -> dict[str, Any]:
    """The statement of a queue's policy that lets the service send for the sources."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": sources[0] if len(sources) == 1 else list(sources)}},
    }


def below(bucket: Text) -> Text:
    """Every object of the bucket."""
    return join(bucket, "/*")
