"""Log lines and metrics: what CloudWatch Logs takes, and the embedded metric format as it is specified."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import orjson

from afterwrite.core.target_failures import TargetFailure
from afterwrite.targets.cloudwatch import CloudWatchLog
from aws_servers import AwsServer

# Of the specification: what one directive and one event may hold.
METRICS_MAX, DIMENSIONS_MAX, EVENT_BYTES_MAX = 100, 30, 256 << 10
COUNTS = {"PerformedChanges": 3, "ParkedChanges": 1, "ParkedLanes": 0}


def written() -> list[str]:
    """The lines of a batch: an effect that failed, a lane that was parked, the counts."""
    out = io.StringIO()
    log = CloudWatchLog("shop", out, now_ms=lambda: int(time.time() * 1000))
    log.effect_failed("orders", "orders/o-1", TargetFailure("queue/out", "throttled", "Throttling", "o-1 is too much"))
    log.lane_parked("orders", "orders/o-1", "o-1 is too much")
    log.metrics({"Table": "orders"}, COUNTS, failures={"throttled": 1})
    return out.getvalue().splitlines()


def test_metrics_are_as_the_embedded_metric_format_is_specified() -> None:
    (line,) = (line for line in written() if "_aws" in line)
    document: dict[str, Any] = orjson.loads(line)
    assert len(line.encode()) <= EVENT_BYTES_MAX
    assert abs(document["_aws"]["Timestamp"] - time.time() * 1000) < 60_000, "milliseconds since the epoch"
    (directive,) = document["_aws"]["CloudWatchMetrics"]
    assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
    assert re.fullmatch(r"[0-9A-Za-z.\-_/#:]{1,255}", directive["Namespace"])
    assert directive["Dimensions"] and len(directive["Metrics"]) <= METRICS_MAX
    for dimensions in directive["Dimensions"]:
        assert len(dimensions) <= DIMENSIONS_MAX
        assert all(isinstance(document[name], str) for name in dimensions), "a dimension is a member that is text"
    for metric in directive["Metrics"]:
        assert set(metric) <= {"Name", "Unit", "StorageResolution"} and metric["Unit"] == "Count"
        assert isinstance(document[metric["Name"]], int), "a metric is a member that is a number"
    assert {name: document[name] for name in COUNTS} == COUNTS


def test_every_line_is_one_event_and_comes_back_as_it_was_written(server: AwsServer) -> None:
    logs, lines = server.client("logs"), written()
    logs.create_log_group(logGroupName="/aws/lambda/shop")
    logs.create_log_stream(logGroupName="/aws/lambda/shop", logStreamName="1")
    now_ms = int(time.time() * 1000)
    events = [{"timestamp": now_ms + number, "message": line} for number, line in enumerate(lines)]
    answer = logs.put_log_events(logGroupName="/aws/lambda/shop", logStreamName="1", logEvents=events)
    assert not answer.get("rejectedLogEventsInfo")
    kept = logs.get_log_events(logGroupName="/aws/lambda/shop", logStreamName="1", startFromHead=True)["events"]
    assert [each["message"] for each in kept] == lines
    assert len(lines) == 3 and "o-1" not in "".join(lines), "no key, and none of the words that may quote one"
