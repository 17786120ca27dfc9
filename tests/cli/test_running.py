"""What `afterwrite run` says that it runs."""

from __future__ import annotations

from typing import Any

from afterwrite import App
from afterwrite.cli.running import _summary


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
