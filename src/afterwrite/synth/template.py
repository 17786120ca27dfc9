"""An app's declaration becomes a template. Pure: the same app and options give the same document."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from afterwrite.app import App
from afterwrite.synth import alarms, buckets, functions, mapped, messages, pipes, routing, tables, views
from afterwrite.synth.document import Output, Ref, Resource, Template, logical_id
from afterwrite.synth.stack import CONDITIONS, Options, Stack, check_plain

_TAGGED: Final = frozenset(
    (
        "AWS::CloudWatch::Alarm",
        "AWS::DynamoDB::Table",
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::Kinesis::Stream",
        "AWS::KinesisFirehose::DeliveryStream",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Lambda::Function",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::SQS::Queue",
    )
)


def synth(app: App, options: Options | None = None) -> Template:
    """The template that deploys the app.

    Raises DeclarationError for what AWS cannot do as declared, with what to declare instead.
    """
    check_plain("app", app.name)
    stack = Stack(app, options or Options())
    tables.add(stack)
    mapped.add_streams(stack)
    failures = buckets.add_failures(stack)
    buckets.add_audit_logs(stack)
    buckets.add_delivery_streams(stack)
    messages.add_queues(stack)
    messages.add_topics(stack)
    functions.add_functions(stack)
    views.add(stack)
    messages.add_buses(stack)
    messages.add_queue_policies(stack)
    functions.add_route_functions(stack, failures)
    routing.add_mappings(stack, failures)
    pipes.add(stack)
    mapped.add(stack, failures)
    alarms.add(stack)
    return Template(
        description=f"{app.name}: what happens after each write to its tables",
        parameters=stack.parameters,
        conditions=CONDITIONS,
        resources=[_tagged(resource, app.name) for resource in stack.resources.added.values()],
        outputs=list(_outputs(stack, failures)),
        notes=stack.notes,
    )


def _tagged(resource: Resource, app: str) -> Resource:
    tags: Any
    if resource.type in _TAGGED:
        tags = [{"Key": "app", "Value": app}, {"Key": "stage", "Value": Ref("Stage")}]
    elif resource.type == "AWS::Pipes::Pipe":
        tags = {"app": app, "stage": Ref("Stage")}
    else:
        return resource
    return dataclasses.replace(resource, properties={**resource.properties, "Tags": tags})


def _outputs(stack: Stack, failures: Resource) -> Iterable[Output]:
    for name, table in stack.tables.items():
        yield Output(logical_id(name, "TableName"), f"The table {name}", table.ref)
    for name, bucket in stack.audit_buckets.items():
        yield Output(logical_id(name, "BucketName"), f"The bucket of the audit log {name}", bucket.ref)
    if stack.delivery_streams:
        yield Output("LakeBucketName", "The bucket of the delivery streams", Ref(buckets.LAKE))
    yield Output("FailuresBucketName", "The bucket of the batches that were given up", failures.ref)
