"""The same app on AWS Lambda: one entry point for whatever calls it.

    from afterwrite import aws_lambda
    from shop import app

    handler = aws_lambda.handler(app)

A batch of a stream, also through Kinesis or a Pipe, runs routes; everything else runs the function that the
environment names (docs/aws.md), and an event source mapping's function gets the event as it is. The import brings
neither boto3 nor the embedded engine.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from afterwrite import config
from afterwrite.app import App, Function, Table, lanes_of
from afterwrite.core.lambda_events import (
    Incoming,
    Invocation,
    batch_answer,
    changes_of,
    invocation_of,
    invocations_of,
    lowest,
    recognise,
)
from afterwrite.errors import AfterwriteError, DeclarationError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from afterwrite.aws_wiring import Aws
    from afterwrite.engine.batches import Batch, BatchResult, Journal
    from afterwrite.engine.invocations import Invocations
    from afterwrite.engine.record_lanes import RecordLanes
    from afterwrite.targets.cloudwatch import CloudWatchLog

# Of the invocation's time, for what is left to do when no more is sent: to keep what was done, and to answer.
_RESERVE_PART: Final = 0.2
_RESERVE_MS_MIN: Final = 500
_RESERVE_MS_MAX: Final = 10_000
_UNLIMITED_MS: Final = 900_000


class InvocationFailed(AfterwriteError):
    """A function's attempt failed. Without its words, as the runtime logs them, and they may quote an item."""


def handler(app: App, *, environ: Mapping[str, str] | None = None) -> Callable[[Any, Any], Any]:
    """The Lambda handler of `app`, for each of its roles.

    `environ` is the environment by default (docs/aws.md); it is read at once. Raises DeclarationError.
    """
    settings = config.load_aws(app.name, environ)
    if settings.mapped_function is not None:
        return _mapped(app, settings.mapped_function)
    if settings.function is not None and settings.function not in {each.name for each in app.functions}:
        raise DeclarationError(
            f"expected AFTERWRITE_FUNCTION to name a function of the app {app.name}, got {settings.function!r}: "
            f"choose one of {', '.join(each.name for each in app.functions) or 'none, as it declares none'}"
        )
    return _Handler(app, settings)


def _mapped(app: App, name: str) -> Callable[[Any, Any], Any]:
    """The function of an event source mapping, as it was declared."""
    declared = {
        mapping.function_name: mapping.handler
        for stream in (*app.tables, *app.kinesis_streams)
        for mapping in stream.event_source_mappings
    }
    if name not in declared:
        raise DeclarationError(
            f"expected AFTERWRITE_MAPPED_FUNCTION to name a function of an event source mapping of the app {app.name}, "
            f"got {name!r}: choose one of {', '.join(declared) or 'none, as it declares none'}"
        )
    return declared[name]


class _Handler:
    def __init__(self, app: App, settings: config.AwsSettings) -> None:
        self._app = app
        self._settings = settings
        self._function = next((each for each in app.functions if each.name == settings.function), None)
        self._lanes: dict[str, Callable[[Any], str]] = {}

    def __call__(self, event: Any, context: Any = None) -> Any:
        """Run what has called. Raises InvocationFailed for what is tried again as a whole."""
        time_left_ms = _time_left(context)
        incoming = recognise(event)
        if incoming.caller == "redrive":
            return self._redrive(event["afterwrite"]["redrive"], time_left_ms)
        if self._function is not None:
            return self._invoke(self._function, incoming, event, context, time_left_ms)
        if incoming.caller in ("dynamodb", "kinesis"):
            return self._run_routes(incoming, time_left_ms)
        if isinstance(event, Mapping) and event.get("Records") == []:
            return batch_answer([])
        raise DeclarationError(
            f"expected a batch of a DynamoDB or Kinesis stream, got an event of {incoming.caller}: set "
            "AFTERWRITE_FUNCTION to the function of the app that is to have it"
        )

    def _run_routes(self, incoming: Incoming, time_left_ms: Callable[[], int]) -> dict[str, Any]:
        delivery = changes_of(incoming, self._lane_of, self._aws.declared_table)
        again = list(delivery.unreadable)
        for checkpoint in again:
            self._log.record_unreadable(delivery.item_ids[checkpoint])
        # Changes may come again for a reason that their batch does not know.
        remember = incoming.caller == "kinesis" or bool(delivery.unreadable)
        by_table: dict[str, list[Any]] = {}
        for each in delivery.changes:
            by_table.setdefault(each.change.table, []).append(each)
        for table, changes in by_table.items():
            origin = _origin(incoming.records[0])
            batch = self._batch(self._table(table), time_left_ms, remember=remember, origin=origin)
            try:
                result = batch.run(changes)
            except AfterwriteError as error:
                self._log.batch_failed(table, error)
                again.extend(each.checkpoint for each in changes)
                continue
            self._report(table, result)
            again.extend(result.again)
        if not again:
            return batch_answer([])
        # A Pipe names items, of which the first is where a stream is cut; so is the lowest of a mapping (S1, S31).
        return batch_answer([delivery.item_ids[lowest(again)]])

    def _redrive(self, request: Mapping[str, Any], time_left_ms: Callable[[], int]) -> dict[str, Any]:
        """Run parked lanes again, those named or all of a table: `{"table": …, "lanes": […], "may_pass": true}`."""
        from afterwrite.engine.redriving import redrive

        journal = self._journal
        if journal is None:
            raise DeclarationError(
                "expected AFTERWRITE_RESOURCES to say where parked lanes and the ledger are kept: add `parked` and "
                "`ledger`"
            )
        consumer, run = self._redriving(request.get("table"), time_left_ms)
        named = request.get("lanes")
        lanes = list(map(str, named)) if named else [lane for _, lane, _ in journal.parked_lanes.lanes(consumer)]
        may_pass = bool(request.get("may_pass"))
        redriven = redrive(journal, consumer, lanes, run, time_left_ms, only_what_may_pass=may_pass)
        if not named:
            counts = {"RedrivenChanges": redriven.performed, "LanesStillParked": redriven.still_parked}
            self._log.metrics({"Table": consumer}, counts)
        return {"performed": redriven.performed, "lanes": len(lanes), "still_parked": redriven.still_parked}

    def _redriving(self, asked: Any, time_left_ms: Callable[[], int]) -> tuple[str, Callable[[str], BatchResult]]:
        """Whose lanes run again here, and what runs one: a table's by its routes, a function's records by itself."""
        if self._function is not None:
            lanes = self._record_lanes(self._function, self._runner(self._function, time_left_ms))
            if lanes is None or asked not in (None, lanes.consumer):
                raise DeclarationError(
                    f"expected the function that runs the routes of {asked}, got {self._function.name}: invoke that one"
                )
            return lanes.consumer, lanes.redrive
        table = self._table(str(asked or self._settings.table))
        return table.name, lambda lane: self._batch(table, time_left_ms).redrive(lane)

    def _batch(
        self,
        table: Table,
        time_left_ms: Callable[[], int],
        *,
        remember: bool = False,
        origin: tuple[str, str] = ("", "::::"),
    ) -> Batch:
        import random

        from afterwrite.aws_wiring import now_ms
        from afterwrite.engine.batches import Batch, Surroundings

        surroundings = Surroundings(now_ms, time_left_ms, random.random, self._executor)
        router = self._routers.get((table.name, origin))
        if router is None:
            router = self._routers[table.name, origin] = _router(table, origin)
        targets, journal = self._aws.targets, self._journal
        return Batch(table.name, router, targets, journal, self._log, surroundings, remember=remember)

    def _report(self, table: str, result: BatchResult) -> None:
        counts = {
            "PerformedChanges": result.performed,
            "SkippedChanges": result.skipped,
            "ParkedChanges": result.parked_changes,
            "ParkedLanes": result.parked_lanes,
            "ChangesToDeliverAgain": len(result.again),
        }
        self._log.metrics({"Table": table}, counts, failures=result.failures)

    def _invoke(
        self, function: Function, incoming: Incoming, event: Any, context: Any, time_left_ms: Callable[[], int]
    ) -> Any:
        runner = self._runner(function, time_left_ms)
        messages = self._messages(function, incoming, event, context)
        if incoming.caller == "kinesis" and (lanes := self._record_lanes(function, runner)) is not None:
            kept = lanes.run(list(zip(incoming.records, messages, strict=True)))
            self._report(lanes.consumer, kept)
            return batch_answer([messages[number].item_id for number in kept.again[:1]])
        results, failures = runner.run(messages)
        if incoming.caller in ("sqs", "kinesis", "dynamodb") and not self._enriches(incoming):
            failed = [failure.invocation.item_id for failure in failures]
            return batch_answer(failed if incoming.caller == "sqs" or incoming.by_pipe else failed[:1])
        if failures:
            raise self._failure(function, failures[0].error)
        from afterwrite.core import json_text

        values = [json_text.loads(result) if result is not None else None for result in results]
        if not incoming.by_pipe:
            return values[0]
        # A Pipe's enrichment answers with the items that go on.
        if function.pipe is None:
            return [value for value in values if value is not None]
        pipe = function.pipe
        return [item for each in zip(incoming.records, values, strict=True) for item in pipe.answers(*each)]

    def _runner(self, function: Function, time_left_ms: Callable[[], int]) -> Invocations:
        from afterwrite.aws_wiring import now_ms
        from afterwrite.engine.invocations import Invocations

        return Invocations(
            function.name, function.handler, self._aws.services, self._aws.ledger, self._log, now_ms, time_left_ms
        )

    def _record_lanes(self, function: Function, runner: Invocations) -> RecordLanes | None:
        """What parks the function's records, None where nothing says where."""
        if self._journal is None:
            return None
        from afterwrite.engine.record_lanes import RecordLanes

        return RecordLanes(runner, function.policy.attempts_max, self._journal, self._log)

    def _messages(self, function: Function, incoming: Incoming, event: Any, context: Any) -> Sequence[Invocation]:
        if incoming.caller != "invocation":
            return invocations_of(incoming, as_messages=function.queue is not None)
        if incoming.by_pipe:
            return [invocation_of(record, "") for record in incoming.records]
        return [invocation_of(event, str(getattr(context, "aws_request_id", "local")))]

    def _enriches(self, incoming: Incoming) -> bool:
        return incoming.by_pipe and incoming.caller == "dynamodb"

    def _failure(self, function: Function, error: BaseException | None) -> BaseException:
        if error is None:
            return InvocationFailed(f"{function.name} was not run: another is at it, or the time was up")
        if self._settings.log_keys:
            return error
        return InvocationFailed(f"{function.name} failed: {type(error).__name__}")

    def _lane_of(self, change: Any) -> str:
        of_table = self._lanes.get(change.table)
        if of_table is None:
            of_table = self._lanes[change.table] = lanes_of(self._table(change.table))
        return of_table(change)

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        if table is None:
            raise DeclarationError(
                f"expected a change of a table that the app {self._app.name} declares, got one of {name!r}: add "
                "`table/NAME` to AFTERWRITE_RESOURCES"
            )
        return table

    @functools.cached_property
    def _tables(self) -> Mapping[str, Table]:
        return {table.name: table for table in self._app.tables}

    @functools.cached_property
    def _routers(self) -> dict[tuple[str, tuple[str, str]], Any]:
        return {}

    @functools.cached_property
    def _aws(self) -> Aws:
        from afterwrite.aws_wiring import Aws

        return Aws(self._app, self._settings)

    @functools.cached_property
    def _journal(self) -> Journal | None:
        from afterwrite.engine.batches import Journal

        ledger, parked_lanes = self._aws.ledger, self._aws.parked_lanes
        return None if ledger is None or parked_lanes is None else Journal(ledger, parked_lanes)

    @functools.cached_property
    def _log(self) -> CloudWatchLog:
        from afterwrite.aws_wiring import now_ms
        from afterwrite.targets.cloudwatch import CloudWatchLog

        return CloudWatchLog(self._settings.app, sys.stdout, now_ms=now_ms, keys=self._settings.log_keys)

    @functools.cached_property
    def _executor(self) -> Executor:
        from concurrent.futures import ThreadPoolExecutor

        from afterwrite.aws_wiring import CONNECTIONS

        return ThreadPoolExecutor(CONNECTIONS, "afterwrite-send")


def _origin(record: Mapping[str, Any]) -> tuple[str, str]:
    """The region and the stream's ARN that a record says it is from."""
    return str(record.get("awsRegion", "")), str(record.get("eventSourceARN", "::::"))


def _router(table: Table, origin: tuple[str, str]) -> Any:
    """The table's routes, and its pipes that are routes on AWS."""
    pipes = table.routed_pipes if table.pipes else ()
    if not pipes:
        return table.router(pipes=())
    from afterwrite.core.pipes import Origin

    return table.router(Origin(*origin), pipes=pipes)


def _time_left(context: Any) -> Callable[[], int]:
    """How long more may be begun: the invocation's remaining time but a reserve."""
    remaining_ms = getattr(context, "get_remaining_time_in_millis", None)
    if remaining_ms is None:
        return lambda: _UNLIMITED_MS
    reserve_ms = min(_RESERVE_MS_MAX, max(_RESERVE_MS_MIN, int(remaining_ms() * _RESERVE_PART)))
    return lambda: int(remaining_ms()) - reserve_ms
