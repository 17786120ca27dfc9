"""The statuses of a session."""

from __future__ import annotations

from typing import Final

ACTIVE: Final = "active"
HANDED_OFF: Final = "handoff"
DISCONNECTED: Final = "disconnected"
"""The session has ended: nothing is added to it any more."""
