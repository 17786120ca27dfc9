"""Reads every store back: the table and its log with `open_data`, the systems' own files with SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demonstration import inbox
from profiles import app
from profiles.reconcile import Found, LoggedChange, systems


def read(data: Any, marketing: Path, shipping: Path) -> Found:
    """What the stores of `data`, a view made by `open_data`, and the two systems hold."""
    depths: Mapping[str, tuple[int, int]] = data.depths()
    dead = sum(sum(depth) for name, depth in depths.items() if name.endswith("-dead-letters"))
    told = [(inbox.deliveries(path), inbox.state(path)) for path in (marketing, shipping)]
    return Found(
        changes=[
            LoggedChange(change.id, change.keys["customerId"], change.old, change.new)
            for change in data.changes(app.customers.name)
        ],
        customers={item["customerId"]: item for item in data.items(app.customers.name)},
        systems=systems(*told),
        dead_letters=dead,
        leftovers=sum(sum(depth) for depth in depths.values()) - dead,
    )
