"""An app whose functions fork, in both of an engine's processes, and leave the forks alive."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from afterwrite import INSERT, App, Change, Context

app = App("forking")
things = app.table("things", partition_key="pk")
forks = app.table("forks", partition_key="pk")
trail = app.audit_log("trail")


def keep(context: Any, name: str, pid: int) -> None:
    context.table(forks).put({"pk": name, "pid": pid, "by": os.getpid()})


@app.function(retries=0)
def work(request: Any, context: Context) -> None:
    """Fork as the item asks for; a fork that is not told to end lives until somebody kills it."""
    pid = os.fork()
    if not pid:
        if request["do"] == "exit":
            sys.exit(3)
        if request["do"] == "raise":
            raise ValueError("in the fork")
        if request["do"] == "return":
            return
        signal.pause()
    if request["do"] == "live":
        keep(context, f"{request['do']}/work", pid)
    else:
        keep(context, f"{request['do']}/work", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def mapped(event: Any, context: Any) -> None:
    """The same in the process that answers requests."""
    for record in event["Records"]:
        if record["dynamodb"]["NewImage"]["do"]["S"] == "live":
            pid = os.fork()
            if not pid:
                signal.pause()
            keep(context, "live/mapped", pid)


things.event_source_mapping(mapped)


@things.on(INSERT)
def asked(change: Change) -> Any:
    assert change.new is not None
    return [work.later(do=change.new["do"]), trail.append(do=change.new["do"])]
