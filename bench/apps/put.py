"""A table that nothing follows from."""

from __future__ import annotations

from afterwrite import App

app = App("bench-put")
turns = app.table("bench", partition_key="PK", sort_key="SK")
