"""Reads every store back: tables and the log with `open_data`, the lake with DuckDB, the cache with Redis's client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import duckdb
import redis

from afterwrite import Change
from inventory import app
from inventory.reconcile import Found, LoggedChange, follow_on

SOLD: Final = """
    SELECT product_id, day, -sum(quantity_change), sum(cents) FROM {rows} WHERE kind = 'sale' GROUP BY product_id, day
"""


def read(data: Any, redis_url: str) -> Found:
    """What the stores of `data`, a view made by `open_data`, and the Redis at `redis_url` hold."""
    audit = sorted(data.items(app.audit.name), key=lambda row: (row["productId"], row["sequence"]))
    depths: Mapping[str, tuple[int, int]] = data.depths()
    lake = data.lake(app.analytics.name)
    return Found(
        changes=[logged_change(change) for change in data.changes(app.products.name)],
        products={item["productId"]: item for item in data.items(app.products.name)},
        orders=[
            (row["alertId"], row["productId"], int(row["currentQuantity"]), int(row["suggestedOrderQuantity"]))
            for row in data.items(app.orders.name)
            if row["state"] == "open"
        ],
        audited=[
            (
                row["changeId"],
                row["productId"],
                row["eventType"],
                row["oldQuantity"],
                row["newQuantity"],
                row["changeAmount"],
                row["user"],
            )
            for row in audit
        ],
        audit_in_order=follow_on((row["productId"], row["oldQuantity"], row["newQuantity"]) for row in audit),
        analytics=query(lake, "SELECT event_id, product_id, quantity_change FROM {rows}"),
        sold=query(lake, SOLD),
        cached=cached(redis_url),
        dead_letters={name: sum(depth) for name, depth in depths.items() if name.endswith("-dead-letters")},
        leftovers={name: sum(depth) for name, depth in depths.items() if not name.endswith("-dead-letters")},
    )


def logged_change(change: Change) -> LoggedChange:
    """The change with what the equations need."""
    return LoggedChange(
        event_id=change.id,
        event_name=change.event_name,
        sequence_number=int(change.sequence_number or 0),
        product_id=change.keys["productId"],
        before=change.old,
        after=change.new,
    )


def cached(redis_url: str) -> dict[str, Any]:
    """The products and their stock in the cache, by key."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        keys = [key for pattern in ("product:*", "stock:*") for key in client.scan_iter(pattern, count=1000)]
        values: Any = client.mget(keys) if keys else []
    return {key: json.loads(value) for key, value in zip(keys, values, strict=True)}


def query(lake: Path, sql: str) -> list[tuple[Any, ...]]:
    """The answer of a query on the lake's `{rows}`; none where there is no file yet."""
    if not any(lake.rglob("*.parquet")):
        return []
    rows = f"read_parquet('{lake}/**/*.parquet', union_by_name = true, hive_partitioning = true)"
    with duckdb.connect() as connection:
        answer: list[tuple[Any, ...]] = connection.execute(sql.format(rows=rows)).fetchall()
    return answer
