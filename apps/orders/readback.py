"""Reads every store back: the table and its log with `open_data`, what customers got with SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demonstration import inbox
from orders import app
from orders.reconcile import Found, LoggedChange


def read(data: Any, emails: Path, texts: Path) -> Found:
    """What `data`, a view made by `open_data`, and the files of the mail server and the text service hold."""
    depths: Mapping[str, tuple[int, int]] = data.depths()
    dead = sum(sum(depth) for name, depth in depths.items() if name.endswith("-dead-letters"))
    return Found(
        changes=[
            LoggedChange(change.id, change.created_at_ms, change.old, change.new)
            for change in data.changes(app.orders.name)
        ],
        orders={item["orderId"]: item for item in data.items(app.orders.name)},
        emails=inbox.deliveries(emails),
        texts=inbox.deliveries(texts),
        dead_letters=dead,
        leftovers=sum(sum(depth) for depth in depths.values()) - dead,
    )
