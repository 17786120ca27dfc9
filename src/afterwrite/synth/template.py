"""An app's declaration becomes a template. Pure: the same app and options give the same document."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

from afterwrite.app import App
from afterwrite.errors import DeclarationError
from afterwrite.synth import alarms, buckets, functions, mapped, messages, pipes, redrives, routing, tables, views
from afterwrite.synth.document import Output, Ref, Resource, Template, logical_id, names_in
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

# The property with the name that a resource has in its account and region; rules are named within their bus.
_NAMES: Final = {
    "AWS::CloudWatch::Dashboard": "DashboardName",
    "AWS::DynamoDB::Table": "TableName",
    "AWS::Events::Archive": "ArchiveName",
    "AWS::Events::EventBus": "Name",
    "AWS::Kinesis::Stream": "Name",
    "AWS::KinesisFirehose::DeliveryStream": "DeliveryStreamName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Pipes::Pipe": "Name",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
}


def synth(app: App, options: Options | None = None) -> Template:
    """The template that deploys the app, with the parameters that it uses.

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
    redrives.add(stack)
    mapped.add(stack, failures)
    alarms.add(stack)
    _refuse_clashes(stack)
    resources = [_tagged(resource, app.name) for resource in stack.resources.added.values()]
    used = set(names_in([resource.properties for resource in resources]))
    conditions = [condition for condition in CONDITIONS if condition.name in used]
    used.update(condition.parameter for condition in conditions)
    return Template(
        description=f"{app.name}: what happens after each write to its tables",
        parameters=[parameter for parameter in stack.parameters if parameter.name in used],
        conditions=conditions,
        resources=resources,
        outputs=list(_outputs(stack, failures)),
        notes=stack.notes,
    )


def _refuse_clashes(stack: Stack) -> None:
    """Raise DeclarationError where two resources, or a parameter and another one or a resource, have one name."""
    taken: dict[Any, str] = {}
    for resource in stack.resources.added.values():
        if (named_by := _NAMES.get(resource.type)) is None:
            continue
        name = resource.properties[named_by]
        other = taken.setdefault((resource.type, name), resource.id)
        if other != resource.id:
            shown = "".join(part for part in getattr(name, "parts", [name]) if isinstance(part, str))
            raise DeclarationError(
                f"the resources {other} and {resource.id} would both be named {shown} on AWS: rename what is declared"
            )
    parameters = [parameter.name for parameter in stack.parameters]
    for number, name in enumerate(parameters):
        if name in stack.resources.added or name in parameters[:number]:
            raise DeclarationError(
                f"the parameter {name} would have the name of another parameter or a resource of the template: rename "
                "the variable, or what is declared"
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
