"""An app whose functions do in another process what only the first one can: write, and be refused."""

from __future__ import annotations

import os
from typing import Any, cast

from afterwrite import INSERT, App, Change, ConditionalCheckFailed, Context, Put, TransactionCanceled

app = App("processes")
things = app.table("things", partition_key="PK")
results = app.table("results", partition_key="PK")
lake = app.delivery_stream("lake", buffer_seconds=0.1)
audit = app.audit_log("trail")


@app.function(retries=50, backoff_s=0.01)
def work(request: Any, context: Context) -> None:
    """Do what the item asks for, and keep what came of it."""
    do, key = request["do"], request["key"]
    table: Any = context.table(results)
    if do == "crash":
        os._exit(7)
    if do == "count":
        cast("Any", table).put_many({"PK": f"{key}/{number}"} for number in range(1500))
        found: Any = sum(1 for _ in table.scan())
    elif do == "large":
        # One that goes through the memory both processes share, and more than fits into it.
        table.put({"PK": f"{key}/one", "text": "1" * 300_000})
        cast("Any", table).put_many({"PK": f"{key}/{number}", "text": "2" * 390_000} for number in range(100))
        found = {item["text"][0]: len(item["text"]) for item in table.scan() if "text" in item}
    elif do == "conflict":
        table.put({"PK": key})
        try:
            table.put({"PK": key}, condition="attribute_not_exists(PK)")
        except ConditionalCheckFailed as error:
            found = error.code
    else:
        table.put({"PK": key})
        taken = Put(results, {"PK": key}, condition="attribute_not_exists(PK)")
        try:
            context.transact([Put(results, {"PK": f"{key}/other"}), taken])
        except TransactionCanceled as error:
            found = [reason["Code"] for reason in error.reasons]
    table.put({"PK": f"found/{key}", "pid": os.getpid(), "found": found})


@things.on(INSERT)
def ask(change: Change) -> Any:
    """Everything is asked for, kept, and written to files."""
    new = change.new or {}
    row = {"key": new["PK"], "pid": os.getpid()}
    return [work.later(key=new["PK"], do=new["do"]), lake.put(**row), audit.append(**row)]
