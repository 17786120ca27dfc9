"""Declared pipes as EventBridge Pipes: a stream, a filter, an enrichment, an input template, a target (S31)."""

from __future__ import annotations

from typing import Any, Final

from afterwrite.app import Table
from afterwrite.core import json_text
from afterwrite.core.pipes import Pipe
from afterwrite.errors import DeclarationError
from afterwrite.synth import iam, messages
from afterwrite.synth.document import Attribute, Ref, Resource, Text, logical_id
from afterwrite.synth.stack import Stack, physical_name

PIPE_NAME_MAX: Final = 64
# What an SQS queue, an SNS topic and a bus take at a time; a pipe may take no more from its stream.
_BATCH_MAX: Final = 10


def stream_settings(dead_letters: Resource, batch_size: Any, retries: Any) -> dict[str, Any]:
    """How a Pipe reads a stream: bounded, bisecting, with dead letters."""
    return {
        "StartingPosition": "TRIM_HORIZON",
        "BatchSize": batch_size,
        "MaximumBatchingWindowInSeconds": Ref("BatchWindowSeconds"),
        "ParallelizationFactor": Ref("ParallelizationFactor"),
        "OnPartialBatchItemFailure": "AUTOMATIC_BISECT",
        "MaximumRetryAttempts": retries,
        "MaximumRecordAgeInSeconds": Ref("RecordAgeSeconds"),
        "DeadLetterConfig": {"Arn": dead_letters.arn},
    }


def add(stack: Stack) -> None:
    """The declared pipes that are no routes on AWS. Their targets and enrichments have to be there already."""
    added: list[str] = []
    for table in stack.app.tables:
        for pipe in table.pipes:
            if pipe.shaped_by == "routes":
                why = "its transform is code" if callable(pipe.transform) else f"its target is a {pipe.target.kind}"
                stack.notes.append(f"{pipe.name}: no EventBridge Pipe, as {why}: it is a route of {table.name} on AWS")
            elif table.private:
                raise DeclarationError(
                    f"expected no private attributes for the pipe {pipe.name}, as EventBridge Pipes cannot mask them, "
                    f"got some of {table.name}: use a route, or a function as the pipe's transform"
                )
            else:
                _add(stack, table, pipe)
                added.append(pipe.name)
    if added:
        stack.notes.append(f"{', '.join(added)}: a Pipe's dead letters tell which changes failed, not what they held")


def _add(stack: Stack, table: Table, pipe: Pipe) -> None:
    send, target = _target(stack, pipe)
    enrichment = None if pipe.enrichment is None else stack.functions[pipe.enrichment]
    dead_letters = messages.add_dead_letters(stack, f"pipe-{pipe.name}")
    source = Attribute(stack.tables[table.name].id, "StreamArn")
    role = iam.role(
        stack,
        logical_id(pipe.name, "PipeRole"),
        "pipes.amazonaws.com",
        f"The changes of {table.name} go to {pipe.target.name}",
        [
            *iam.reading_stream(source),
            *([] if enrichment is None else [{**iam.allow("InvokeFunctions", enrichment.arn), "Sid": "Enrich"}]),
            iam.allow(send, target),
            iam.allow("SendDeadLetters", dead_letters.arn),
        ],
    )
    retries: Any = Ref("RetryAttempts")
    batch_size = 1 if pipe.target.kind == "Function" else _BATCH_MAX
    if pipe.enrichment is not None:
        # A failed enrichment fails its whole batch, and a longer answer than the target takes is not delivered.
        batch_size = 1
        retries = next(each for each in stack.app.functions if each.name == pipe.enrichment).policy.attempts_max - 1
    parameters: dict[str, Any] = {"DynamoDBStreamParameters": stream_settings(dead_letters, batch_size, retries)}
    if pipe.filter:
        patterns = [{"Pattern": json_text.dumps(each).decode()} for each in pipe.filter]
        parameters = {"FilterCriteria": {"Filters": patterns}, **parameters}
    stack.add(
        logical_id(pipe.name, "Pipe"),
        "AWS::Pipes::Pipe",
        {
            "Name": physical_name(pipe.name, limit=PIPE_NAME_MAX),
            "Description": f"The changes of {table.name}, to {pipe.target.name}",
            "RoleArn": role.arn,
            "Source": source,
            "SourceParameters": parameters,
            "Enrichment": None if enrichment is None else enrichment.arn,
            "Target": target,
            "TargetParameters": _target_parameters(stack, pipe) or None,
        },
    )


def _target(stack: Stack, pipe: Pipe) -> tuple[str, Text]:
    """What is done to the target, and its ARN."""
    name = pipe.target.name
    match pipe.target.kind:
        case "Queue":
            return "SendMessages", stack.queues[name].arn
        case "Topic":
            return "PublishMessages", stack.topics[name].ref
        case "Bus":
            return "PutEvents", stack.buses[name].arn
        case "DeliveryStream":
            return "DeliverEvents", stack.delivery_streams[name].arn
        case "Function":
            if name in stack.function_queues:
                return "SendMessages", stack.function_queues[name].arn
            return "InvokeFunctions", stack.functions[name].arn
        case "AuditLog":
            raise DeclarationError(
                f"expected no enrichment of the pipe {pipe.name} on AWS, where no Pipe writes to an audit log: let a "
                "function append what it finds, or declare a route"
            )


def _target_parameters(stack: Stack, pipe: Pipe) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if pipe.target.kind == "Function" and pipe.target.name not in stack.function_queues:
        # An asynchronous invocation, as `later` asks for one: its retries and dead letters are the function's.
        parameters["LambdaFunctionParameters"] = {"InvocationType": "FIRE_AND_FORGET"}
    elif pipe.target.kind == "Function" or pipe.target.name.endswith(messages.FIFO):
        id = "$.eventID" if pipe.enrichment is None else "$.afterwrite.id"
        parameters["SqsQueueParameters"] = {"MessageGroupId": id, "MessageDeduplicationId": id}
    if pipe.target.kind == "Bus":
        parameters["EventBridgeEventBusParameters"] = {
            "Source": f"Pipe {pipe.name}",
            "DetailType": "Event from aws:dynamodb",
        }
    if (template := pipe.input_template()) is not None:
        parameters["InputTemplate"] = template
    return parameters
