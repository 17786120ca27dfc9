"""The buffers of what waits for files: their names, the form of what is in them, and when they are to be flushed."""

from __future__ import annotations

from afterwrite.store.buffers import Fill


def lake_buffer(delivery_stream: str) -> str:
    """The buffer that feeds a delivery stream's lake."""
    return f"lake/{delivery_stream}"


def audit_buffer(audit_log: str) -> str:
    """The buffer that feeds an audit log's files."""
    return f"audit/{audit_log}"


def flush_at_ms(fill: Fill, *, buffer_seconds: float, buffer_bytes: float, now_ms: int) -> int | None:
    """When a buffer is to be flushed: at once when it is full, else when its oldest record has waited long enough."""
    if fill.oldest_ms is None:
        return None
    # A record from the future was added before the clock was set back and the engine started again.
    if fill.bytes >= buffer_bytes or fill.oldest_ms > now_ms:
        return now_ms
    return fill.oldest_ms + int(buffer_seconds * 1000)
