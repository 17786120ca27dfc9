"""The app of the fault tests of mappings: every record is written into a file, some only at a second try."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from afterwrite import App

app = App("faults")
things = app.table("things", partition_key="pk", sort_key="sk")
failed = app.queue("failed")
DELIVERED = Path(os.environ["DELIVERED"])
_tried: set[str] = set()


def handler(event: Any, context: Any) -> Any:
    """Report some records as failed, and raise for some batches, each time only once in a process."""
    done: list[str] = []
    failures: list[Any] = []
    for record in event["Records"]:
        number, image = record["dynamodb"]["SequenceNumber"], record["dynamodb"]["NewImage"]
        is_new = number not in _tried
        _tried.add(number)
        count = int(image["n"]["N"])
        if is_new and count % 11 == 0:
            failures.append({"itemIdentifier": number})
            break
        if is_new and count % 23 == 0:
            raise RuntimeError("a batch that fails")
        done.append(f"{image['pk']['S']} {count}\n")
    with DELIVERED.open("a") as file:
        file.write("".join(done))
    return {"batchItemFailures": failures}


things.event_source_mapping(
    handler,
    BatchSize=20,
    ParallelizationFactor=4,
    BisectBatchOnFunctionError=True,
    FunctionResponseTypes=["ReportBatchItemFailures"],
    DestinationConfig={"OnFailure": {"Destination": failed}},
)
