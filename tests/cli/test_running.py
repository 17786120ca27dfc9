"""What `afterwrite run` says that it runs, and what it may have."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

from afterwrite import App
from afterwrite.cli.running import _FieldsFormatter, _summary

LIMITS = """
import resource
from afterwrite.cli.running import _allow_descriptors
_, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
at_most = min(at_most, 4096)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, at_most))
_allow_descriptors()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (at_most, at_most))
"""


def test_an_engine_has_as_many_descriptors_as_it_may() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITS], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def handler(event: Any, context: Any) -> None: ...


def test_everything_that_follows_from_writes_is_named() -> None:
    app = App("shop")
    orders = app.table("orders", partition_key="PK")
    mail = app.queue("mail")
    clicks = app.kinesis_stream("clicks")
    assert _summary(app) == "app shop: nothing follows from writes"

    @app.function()
    def ship(request: Any, context: Any) -> None: ...

    @orders.on()
    def ordered(change: Any) -> Any:
        return ship.later()

    orders.pipe(to=mail)
    orders.event_source_mapping(handler, FunctionName="index")
    orders.event_source_mapping(handler, FunctionName="totals")
    clicks.event_source_mapping(handler, FunctionName="count")
    assert _summary(app) == (
        "app shop: routes ordered on orders; pipes orders-to-mail on orders; "
        "Lambda functions index, totals on orders; Lambda functions count on clicks; functions ship"
    )


def test_what_the_log_quotes_steers_no_terminal_and_begins_no_line() -> None:
    try:
        raise ValueError("no \x1b[31mluck\r2030-01-01 ERROR engine stopped")
    except ValueError:
        caught = sys.exc_info()
    record = logging.LogRecord("afterwrite", logging.WARNING, "", 0, "lane parked", None, caught)
    record.fields = {"reason": "ValueError: a\n2030-01-01 ERROR engine stopped \x1b[31m"}
    lines = _FieldsFormatter(as_json=False).format(record).split("\n")
    assert lines[0].endswith(r"lane parked reason=ValueError: a\n2030-01-01 ERROR engine stopped \x1b[31m")
    assert lines[1] == "  Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "\x1b" not in "".join(lines) and "\r" not in "".join(lines)
