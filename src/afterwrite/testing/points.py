"""The points that an app has, so that a rule whose point it has not is refused, and does not wait for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from afterwrite.app import App
from afterwrite.errors import DeclarationError
from afterwrite.testing.faults import At

SERVICES: Final = (
    "DynamoDB_20120810",
    "DynamoDBStreams_20120810",
    "Kinesis_20131202",
    "AmazonSQS",
    "SNS",
    "AWSEvents",
    "Firehose_20150804",
    "Afterwrite",
)
"""What the points of requests begin with."""


def refuse_unknown_points(rules: Sequence[At], app: App) -> None:
    """Raise DeclarationError for a rule that could never fire, as the app has nothing by that name."""
    points = list(_points(app))
    for rule in rules:
        kind, _, name = rule.point.partition(":")
        if kind == "request":
            service = name.partition(".")[0]
            if not any(fnmatchcase(each, service) for each in SERVICES):
                raise DeclarationError(
                    f"expected a point request:SERVICE.OPERATION with one of {', '.join(SERVICES)}, or *, "
                    f"as the service, got {rule.point!r}"
                )
        elif not any(fnmatchcase(each, rule.point) for each in points):
            has = ", ".join(each for each in points if each.startswith(f"{kind}:")) or "none"
            raise DeclarationError(f"expected a point that the app {app.name} has ({kind}: {has}), got {rule.point!r}")


def _points(app: App) -> Iterator[str]:
    yield "commit"
    for function in app.engine_functions:
        yield f"function:{function.name}"
        yield f"deliveries:{function.name}"
    for stream in (*app.tables, *app.kinesis_streams):
        yield from (f"function:{mapping.function_name}" for mapping in stream.event_source_mappings)
    for table in app.tables:
        if table.routes or table.pipes:
            yield f"step:{table.name}"
        if table.kinesis_stream is not None:
            yield f"arrivals:{table.name}"
    yield from (f"flush:lake-{each.name}" for each in app.delivery_streams)
    yield from (f"flush:audit-{each.name}" for each in app.audit_logs)
