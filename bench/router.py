"""The Lambda handler's own cost: records a second of processor time, of batches of 1,000, without a network.

Every system decodes the same records and asks for the same messages, which a client in this process takes at once.
"""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any
from unittest.mock import patch

from bench.patterns import records
from bench.processes import Unavailable
from bench.report import Figure

from afterwrite import INSERT, MODIFY, App, Change, Effect, prefix
from afterwrite.aws_lambda import handler
from afterwrite.aws_wiring import Clients

NAME = "afterwrite"
PEER = "Powertools' BatchProcessor"
ROUNDS = 5
BATCH_RECORDS = 1_000

Run = Callable[[Mapping[str, Any]], Any]
_QUEUE_URL = "https://sqs.invalid/turns"


class _Queue:
    """An SQS client that takes everything, and counts it."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    def send_message_batch(self, **request: Any) -> Mapping[str, Any]:
        self.bodies.extend(entry["MessageBody"] for entry in request["Entries"])
        return {"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]]}


def measure() -> Figure:
    """Alternating rounds."""
    batch = {"Records": [_distinct(number, record) for number, record in enumerate(islice(records(), BATCH_RECORDS))]}
    figure = Figure(f"records/s through the handler, a batch of {BATCH_RECORDS:,}, of processor time, no network")
    systems: dict[str, tuple[Run, _Queue]] = {}
    for name, make in {NAME: _ours, PEER: _powertools}.items():
        queue = _Queue()
        try:
            systems[name] = make(queue), queue
        except Unavailable as reason:
            figure.leave_out(name, str(reason))
    _check(figure, systems, batch)
    for _ in range(ROUNDS):
        for name, (run, _) in systems.items():
            began = time.process_time()
            run(batch)
            figure.add(name, {"records/s": BATCH_RECORDS / (time.process_time() - began)})
    return figure


def _distinct(number: int, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record as JSON brings it, of a lane of its own for every second one."""
    text = json.dumps(record).replace('"PK": {"S": "SESSION#', f'"PK": {{"S": "SESSION#{number // 2}-')
    parsed: Mapping[str, Any] = json.loads(text)
    return parsed


def _ours(queue: _Queue) -> Run:
    app = App("bench")
    sessions = app.table("sessions", partition_key="PK", sort_key="SK")
    turns = app.queue("turns")

    @sessions.on(INSERT, sort_key=prefix("TURN#"))
    def note_turn(change: Change) -> Effect:
        return turns.send({"key": change.keys["PK"], "turn": change.keys["SK"]})

    @sessions.on(MODIFY, changed="status")
    def announce(change: Change) -> Effect:
        return turns.send({"key": change.keys["PK"], "status": (change.new or {})["status"]})

    run = handler(app, environ={"AFTERWRITE_RESOURCES": json.dumps({"queue/turns": _QUEUE_URL})})

    def with_queue(event: Mapping[str, Any]) -> Any:
        with patch.object(Clients, "maker", lambda *_: lambda: queue):
            return run(event, None)

    return with_queue


def _powertools(queue: _Queue) -> Run:
    """The same by hand, a message a record, as its documentation shows."""
    if importlib.util.find_spec("aws_lambda_powertools") is None:
        raise Unavailable("the Python package aws-lambda-powertools is not installed (dependency group bench)")
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
    from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord

    def send(body: Mapping[str, Any]) -> None:
        entry = {"Id": "0", "MessageBody": json.dumps(body, separators=(",", ":"))}
        queue.send_message_batch(QueueUrl=_QUEUE_URL, Entries=[entry])

    def record_handler(record: DynamoDBRecord) -> None:
        change = record.dynamodb
        if change is None or record.event_name is None:
            return
        keys, new, old = change.keys or {}, change.new_image or {}, change.old_image or {}
        if record.event_name.name == INSERT and keys["SK"].startswith("TURN#"):
            send({"key": keys["PK"], "turn": keys["SK"]})
        if record.event_name.name == MODIFY and new.get("status") != old.get("status"):
            send({"key": keys["PK"], "status": new["status"]})

    processor = BatchProcessor(event_type=EventType.DynamoDBStreams)

    def run(event: Mapping[str, Any]) -> Any:
        return process_partial_response(
            event=dict(event), record_handler=record_handler, processor=processor, context=None
        )

    return run


def _check(figure: Figure, systems: Mapping[str, tuple[Run, _Queue]], batch: Mapping[str, Any]) -> None:
    sent = {}
    for name, (run, queue) in systems.items():
        if run(batch) != {"batchItemFailures": []}:
            figure.fault(f"{name} reports failures")
        sent[name] = sorted(queue.bodies)
        queue.bodies.clear()
    if not sent[NAME] or any(bodies != sent[NAME] for bodies in sent.values()):
        figure.fault("the systems do not ask for the same messages")
