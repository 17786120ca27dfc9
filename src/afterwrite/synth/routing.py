"""How changes reach the routes: event source mappings with their filters, or Pipes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from afterwrite.app import Table
from afterwrite.core import json_text
from afterwrite.core.changes import EVENT_NAMES
from afterwrite.core.filter_criteria import FilterPattern, filter_criteria
from afterwrite.core.patterns import LAMBDA, compile
from afterwrite.errors import DeclarationError, InvalidPattern
from afterwrite.synth import iam, messages, pipes
from afterwrite.synth.document import Attribute, Ref, Resource, Text, logical_id
from afterwrite.synth.stack import Stack, physical_name
from afterwrite.synth.tables import STREAM_HOURS

PATTERNS_MAX: Final = 5
EVERY_CHANGE: Final[Mapping[str, Any]] = {"eventName": list(EVENT_NAMES)}


def add_mappings(stack: Stack, failures: Resource) -> None:
    """For each table with routes a mapping, or a Pipe where the options say so."""
    unknown = sorted(stack.options.pipes - set(stack.route_functions))
    if unknown:
        raise DeclarationError(f"expected tables with routes to be piped, got {', '.join(unknown)}")
    for table in stack.app.tables:
        if table.name not in stack.route_functions:
            continue
        patterns = filters(table, stack)
        if table.name in stack.options.pipes:
            _add_pipe(stack, table, patterns)
        else:
            _add_mapping(stack, table, patterns, failures)


def filters(table: Table, stack: Stack) -> list[Mapping[str, Any]]:
    """The patterns of the table's routes, at most 5 (S17); together they miss no change that a route wants.

    A guard that the service cannot filter by gets the narrowest pattern that misses nothing, with a note: the
    handler asks the guard anyway. Raises DeclarationError for it where the options ask for exact filters.
    """
    key_types = {key.name: key.type for key in (table.partition_key, table.sort_key) if key is not None}
    patterns: list[Mapping[str, Any]] = []
    notes: list[str] = []
    for route in table.routes:
        criteria = filter_criteria(route.guard, key_types)
        if isinstance(criteria, FilterPattern):
            pattern = criteria.pattern
        else:
            pattern = criteria.widest
            notes.append(f"{table.name}: more changes than {route.name} wants reach it: {'; '.join(criteria.reasons)}")
        patterns.append(EVERY_CHANGE if pattern is None else pattern)
    for pipe in table.routed_pipes:
        patterns += pipe.filter or [EVERY_CHANGE]
    if notes and stack.options.exact_filters:
        raise DeclarationError(f"{notes[0]}: widen the route's conditions, or do without exact filters")
    if EVERY_CHANGE in patterns:
        return [EVERY_CHANGE]
    stack.notes.extend(notes)
    distinct = list({json_text.dumps(pattern): pattern for pattern in patterns}.values())
    return distinct if len(distinct) <= PATTERNS_MAX else [_either(distinct)]


def _either(patterns: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """One pattern for all: their alternatives, or, where those are too long for the service, the kinds of change."""
    either = {"$or": list(patterns)}
    try:
        compile(either, LAMBDA)
    except InvalidPattern:
        kinds = {name for pattern in patterns for name in pattern.get("eventName", EVENT_NAMES)}
        return {"eventName": [name for name in EVENT_NAMES if name in kinds]}
    return either


def _add_mapping(stack: Stack, table: Table, patterns: Sequence[Mapping[str, Any]], failures: Resource) -> None:
    stream = stack.streams.get(table.name)
    if stream is not None:
        patterns = [{"data": pattern} for pattern in patterns]
    if table.retention_hours > STREAM_HOURS:
        stack.notes.append(
            f"{table.name}: its changes are kept for {table.retention_hours} h, but go to the failures bucket when "
            "they are older than RecordAgeSeconds says: give that for so long, at most 604800"
        )
    stack.mappings[f"Changes of {table.name}"] = stack.add(
        logical_id(table.name, "Mapping"),
        "AWS::Lambda::EventSourceMapping",
        {
            "EventSourceArn": _source(stack, table),
            "FunctionName": stack.route_functions[table.name].ref,
            # LATEST misses what is written while the mapping is made (S13).
            "StartingPosition": "TRIM_HORIZON",
            "BatchSize": Ref("BatchSize"),
            "MaximumBatchingWindowInSeconds": Ref("BatchWindowSeconds"),
            "ParallelizationFactor": Ref("ParallelizationFactor"),
            "FilterCriteria": {"Filters": [{"Pattern": json_text.dumps(pattern).decode()} for pattern in patterns]},
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "BisectBatchOnFunctionError": True,
            "MaximumRetryAttempts": Ref("RetryAttempts"),
            "MaximumRecordAgeInSeconds": Ref("RecordAgeSeconds"),
            # A bucket gets the payload, a queue or a topic would not (S14).
            "DestinationConfig": {"OnFailure": {"Destination": failures.arn}},
            "MetricsConfig": {"Metrics": ["EventCount"]},
        },
    )


def _source(stack: Stack, table: Table) -> Text:
    stream = stack.streams.get(table.name)
    return Attribute(stack.tables[table.name].id, "StreamArn") if stream is None else stream.arn


def _add_pipe(stack: Stack, table: Table, patterns: Sequence[Mapping[str, Any]]) -> None:
    """A Pipe from the table's stream to its routes' function, which answers for each change (S31)."""
    stream = stack.streams.get(table.name)
    function = stack.route_functions[table.name]
    dead_letters = messages.add_dead_letters(stack, f"pipe-{table.name}")
    source = _source(stack, table)
    reads = iam.reading_stream(source) if stream is None else iam.reading_kinesis(source)
    role = iam.role(
        stack,
        logical_id(table.name, "PipeRole"),
        "pipes.amazonaws.com",
        f"The changes of {table.name} go to its routes",
        [*reads, iam.allow("InvokeFunctions", function.arn), iam.allow("SendDeadLetters", dead_letters.arn)],
    )
    settings = pipes.stream_settings(dead_letters, Ref("BatchSize"), Ref("RetryAttempts"))
    if stream is not None:
        patterns = [{"data": pattern} for pattern in patterns]
    stack.add(
        logical_id(table.name, "Pipe"),
        "AWS::Pipes::Pipe",
        {
            "Name": physical_name(f"{table.name}-routes", limit=pipes.PIPE_NAME_MAX),
            "Description": f"The changes of {table.name}, to its routes",
            "RoleArn": role.arn,
            "Source": source,
            "SourceParameters": {
                "FilterCriteria": {"Filters": [{"Pattern": json_text.dumps(each).decode()} for each in patterns]},
                "DynamoDBStreamParameters" if stream is None else "KinesisStreamParameters": settings,
            },
            "Target": function.arn,
            "TargetParameters": {"LambdaFunctionParameters": {"InvocationType": "REQUEST_RESPONSE"}},
        },
    )
    stack.notes.append(
        f"{table.name}: a Pipe's dead letters tell which changes failed, not what they held; the ledger parks a "
        "failing lane with its payload before that"
    )
