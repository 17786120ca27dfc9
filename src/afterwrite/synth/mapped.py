"""Declared event source mappings: functions that get a stream's records as they are, by AWS's own parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from afterwrite.app import Function, Queue, Topic
from afterwrite.core import json_text
from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.errors import DeclarationError
from afterwrite.synth import functions, iam
from afterwrite.synth.document import Attribute, Resource, Text, logical_id
from afterwrite.synth.messages import FIFO
from afterwrite.synth.stack import Stack, physical_name
from afterwrite.synth.tables import STREAM_HOURS

_STREAM_NAME_MAX: Final = 128


def add_streams(stack: Stack) -> None:
    """The app's Kinesis streams; one that a table's changes come by is there already."""
    tables = {table.kinesis_stream: table.name for table in stack.app.tables if table.name in stack.streams}
    for stream in stack.app.kinesis_streams:
        if stream.name in tables:
            stack.kinesis_streams[stream.name] = stack.streams[tables[stream.name]]
            continue
        stack.kinesis_streams[stream.name] = stack.add(
            logical_id(stream.name, "KinesisStream"),
            "AWS::Kinesis::Stream",
            {
                "Name": physical_name(stream.name, limit=_STREAM_NAME_MAX),
                "ShardCount": stream.shard_count,
                "RetentionPeriodHours": stream.retention_hours if stream.retention_hours > STREAM_HOURS else None,
                "StreamEncryption": {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"},
            },
            retain=True,
        )


def add(stack: Stack, failures: Resource) -> None:
    """A function for each name that is mapped, and each mapping. Their destinations have to be there already."""
    by_name: dict[str, list[EventSourceMapping]] = {}
    for stream in (*stack.app.tables, *stack.app.kinesis_streams):
        for mapping in stream.event_source_mappings:
            by_name.setdefault(mapping.function_name, []).append(mapping)
    for name, mappings in by_name.items():
        if len({id(mapping.handler) for mapping in mappings}) > 1:
            raise DeclarationError(
                f"two functions are mapped as {name}, on {' and '.join(each.source_name for each in mappings)}: give "
                "another FunctionName"
            )
        statements = _distinct(each for mapping in mappings for each in _statements(stack, mapping, failures))
        timeout_s = max(mapping.timeout_s for mapping in mappings)
        function = functions.add_mapped_function(stack, name, timeout_s, statements)
        for mapping in mappings:
            _add_mapping(stack, mapping, function, failures)


def _add_mapping(stack: Stack, mapping: EventSourceMapping, function: Resource, failures: Resource) -> None:
    given: dict[str, Any] = {**mapping.parameters}
    for name in ("FunctionName", "DestinationConfig", "FilterCriteria"):
        given.pop(name, None)
    filters = (mapping.parameters.get("FilterCriteria") or {}).get("Filters", ())
    patterns = [each["Pattern"] for each in filters]
    texts = [each if isinstance(each, str) else json_text.dumps(each).decode() for each in patterns]
    if given.get("MaximumRetryAttempts", -1) == given.get("MaximumRecordAgeInSeconds", -1) == -1:
        stack.notes.append(
            f"{mapping.function_name}: a record of {mapping.source_name} that keeps failing holds its shard up until "
            "the stream lets go of it: give MaximumRetryAttempts or MaximumRecordAgeInSeconds"
        )
    stack.mappings[f"Records of {mapping.source_name} for {mapping.function_name}"] = stack.add(
        logical_id(mapping.source_name, "To", mapping.function_name),
        "AWS::Lambda::EventSourceMapping",
        {
            "EventSourceArn": _source(stack, mapping),
            "FunctionName": function.ref,
            "StartingPosition": "TRIM_HORIZON",
            **{name: list(value) if isinstance(value, tuple) else value for name, value in given.items()},
            "FilterCriteria": {"Filters": [{"Pattern": text} for text in texts]} if texts else None,
            "DestinationConfig": {"OnFailure": {"Destination": _destination(stack, mapping, failures)}},
            "MetricsConfig": {"Metrics": ["EventCount"]},
        },
    )


def _source(stack: Stack, mapping: EventSourceMapping) -> Text:
    if mapping.settings.source == "kinesis":
        return stack.kinesis_streams[mapping.source_name].arn
    return Attribute(stack.tables[mapping.source_name].id, "StreamArn")


def _destination(stack: Stack, mapping: EventSourceMapping, failures: Resource) -> Text:
    """Where what is given up goes: as declared, else to the bucket, which alone gets the payload (S14)."""
    match mapping.destination:
        case None:
            return failures.arn
        case Queue(name=name) if name.endswith(FIFO):
            raise DeclarationError(
                f"expected a queue without the suffix {FIFO} as the destination of {mapping.function_name}'s failures, "
                f"got {name!r}: Lambda sends them to standard queues only"
            )
        case Queue(name=name):
            return stack.queues[name].arn
        case Topic(name=name):
            return stack.topics[name].ref
        case str(arn):
            return arn
        case other:
            got = f"the function {other.name}" if isinstance(other, Function) else repr(other)
            raise DeclarationError(
                f"expected a queue, a topic or an ARN as the destination of {mapping.function_name}'s failures on AWS, "
                f"got {got}: send to a queue, and declare its consumer"
            )


def _statements(stack: Stack, mapping: EventSourceMapping, failures: Resource) -> list[dict[str, Any]]:
    source = _source(stack, mapping)
    reads = iam.reading_kinesis(source) if mapping.settings.source == "kinesis" else iam.reading_stream(source)
    destination = _destination(stack, mapping, failures)
    if isinstance(mapping.destination, Queue):
        return [*reads, iam.allow("SendFailures", destination)]
    if isinstance(mapping.destination, Topic):
        return [*reads, iam.allow("PublishFailures", destination)]
    if isinstance(destination, str):
        return [*reads, *_sending_to(destination)]
    return [*reads, *iam.keeping_failures(destination)]


def _sending_to(arn: str) -> list[dict[str, Any]]:
    service = arn.split(":")[2]
    if service == "s3":
        return iam.keeping_failures(arn)
    what = {"sqs": "SendFailures", "sns": "PublishFailures"}.get(service)
    if what is None:
        raise DeclarationError(f"expected the ARN of a queue, a topic or a bucket for failures on AWS, got {arn!r}")
    return [iam.allow(what, arn)]


def _distinct(statements: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One statement for each id, on all that those of that id are on."""
    found: dict[str, dict[str, Any]] = {}
    for each in statements:
        same = found.setdefault(each["Sid"], each)
        resources = same["Resource"] if isinstance(same["Resource"], list) else [same["Resource"]]
        if each["Resource"] not in resources:
            found[each["Sid"]] = {**same, "Resource": [*resources, each["Resource"]]}
    return list(found.values())
