"""The router's own cost: stream records a second of processor time, from a parsed record to what is to be done.

Ten routes; records of about 1.3 KB with both images, as JSON brings them. Beside it `orjson.loads` of the same bytes,
which is what parsing them costs at least.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
from bench.patterns import records
from bench.processes import Unavailable
from bench.report import Figure

from afterwrite import INSERT, MODIFY, REMOVE, App, Change, Effect, prefix
from afterwrite.core.wire import from_streams_record

NAME = "afterwrite"
PEER = "Powertools' BatchProcessor"
PARSING = "orjson.loads of the same"
ROUNDS = 7
BATCH_RECORDS = 1_000

Record = Mapping[str, Any]
Run = Callable[[Sequence[Record]], list[Any]]
"""What is to be done after the records: the bodies of messages, in order."""


def measure() -> Figure:
    """Alternating rounds."""
    texts = [orjson.dumps(record) for record in islice(records(), BATCH_RECORDS)]
    batch = [orjson.loads(text) for text in texts]
    size = sum(map(len, texts)) // len(texts)
    figure = Figure(f"records/s through ten routes, records of {size:,} bytes, of processor time", compared=NAME)
    systems = {NAME: _ours()}
    try:
        systems[PEER] = _powertools()
    except Unavailable as reason:
        figure.leave_out(PEER, str(reason))
    asked = {name: run(batch) for name, run in systems.items()}
    if not asked[NAME] or any(bodies != asked[NAME] for bodies in asked.values()):
        figure.fault("the systems do not ask for the same messages")
    for _ in range(ROUNDS):
        for name, run in systems.items():
            figure.add(name, {"records/s": _per_second(lambda run=run: run(batch))})  # type: ignore[misc]
        figure.add(
            PARSING, {"parsed records/s": _per_second(lambda: [None for text in texts if not orjson.loads(text)])}
        )
    return figure


def _per_second(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return BATCH_RECORDS / (time.thread_time() - began)


def _ours() -> Run:
    app = App("bench")
    sessions = app.table("sessions", partition_key="PK", sort_key="SK")
    turns = app.queue("turns")

    def route(name: str, **guard: Any) -> None:
        def send(change: Change) -> Effect:
            return turns.send({"route": name, "key": change.keys["PK"]})

        send.__name__ = name
        sessions.on(*guard.pop("event_names"), **guard)(send)

    route("turn", event_names=[INSERT], sort_key=prefix("TURN#"))
    route("edit", event_names=[MODIFY], sort_key=prefix("TURN#"), changed="content")
    route("opened", event_names=[INSERT], sort_key="META")
    route("status", event_names=[MODIFY], sort_key="META", changed="status")
    route("closed", event_names=[MODIFY], sort_key="META", new={"status": "closed"})
    route("summary", event_names=[INSERT, MODIFY], sort_key=prefix("SUMMARY#"))
    route("handoff", event_names=[INSERT], sort_key=prefix("HANDOFF#"))
    route("taken", event_names=[MODIFY], sort_key=prefix("HANDOFF#"), changed="agent")
    route("removed", event_names=[REMOVE])
    route("waiting", event_names=[INSERT, MODIFY], new={"status": "handoff"})
    router = sessions.router()

    def run(batch: Sequence[Record]) -> list[Any]:
        planned = (router.plan(from_streams_record(record), "lane") for record in batch)
        return [stamped.effect.body for stampeds in planned for stamped in stampeds]  # type: ignore[union-attr]

    return run


def _powertools() -> Run:
    """The same by hand, as its documentation shows."""
    if importlib.util.find_spec("aws_lambda_powertools") is None:
        raise Unavailable("the Python package aws-lambda-powertools is not installed (dependency group bench)")
    from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
    from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord

    bodies: list[Any] = []

    def record_handler(record: DynamoDBRecord) -> None:
        change = record.dynamodb
        if change is None or record.event_name is None:
            return
        name = record.event_name.name
        keys, new, old = change.keys or {}, change.new_image or {}, change.old_image or {}
        sort_key = keys["SK"]
        runs = (
            ("turn", name == INSERT and sort_key.startswith("TURN#")),
            ("edit", name == MODIFY and sort_key.startswith("TURN#") and new.get("content") != old.get("content")),
            ("opened", name == INSERT and sort_key == "META"),
            ("status", name == MODIFY and sort_key == "META" and new.get("status") != old.get("status")),
            ("closed", name == MODIFY and sort_key == "META" and new.get("status") == "closed"),
            ("summary", name in (INSERT, MODIFY) and sort_key.startswith("SUMMARY#")),
            ("handoff", name == INSERT and sort_key.startswith("HANDOFF#")),
            ("taken", name == MODIFY and sort_key.startswith("HANDOFF#") and new.get("agent") != old.get("agent")),
            ("removed", name == REMOVE),
            ("waiting", name in (INSERT, MODIFY) and new.get("status") == "handoff"),
        )
        bodies.extend({"route": route, "key": keys["PK"]} for route, does in runs if does)

    processor = BatchProcessor(event_type=EventType.DynamoDBStreams)

    def run(batch: Sequence[Record]) -> list[Any]:
        bodies.clear()
        process_partial_response(
            event={"Records": list(batch)}, record_handler=record_handler, processor=processor, context=None
        )
        return list(bodies)

    return run
