"""The keys of MangaAssist's items.

A session's items share the partition key `SESSION#<id>`. Their sort keys are `META`, `TURN#<8 digits>`,
`HANDOFF#<13 digits of milliseconds>` and `SUMMARY#<6 digits>`: digits are padded so that text order is number
order, and a turn's number can be read off its key.
"""

from __future__ import annotations

from typing import Final

META: Final = "META"
TURN: Final = "TURN#"
HANDOFF: Final = "HANDOFF#"
SUMMARY: Final = "SUMMARY#"
SESSION: Final = "SESSION#"

WINDOW_TURNS: Final = 10
"""How many turns one summary covers."""


def partition(session_id: str) -> str:
    """The partition key of a session's items."""
    return SESSION + session_id


def session_id_of(partition_key: str) -> str:
    """The session that a partition key belongs to."""
    return partition_key.removeprefix(SESSION)


def turn(number: int) -> str:
    """The sort key of turn `number`, counted from 1."""
    return f"{TURN}{number:08d}"


def turn_number(sort_key: str) -> int:
    """The number of the turn with this sort key."""
    return int(sort_key.removeprefix(TURN))


def handoff(at_ms: int) -> str:
    """The sort key of a hand-off made at `at_ms`."""
    return f"{HANDOFF}{at_ms:013d}"


def handoff_at_ms(sort_key: str) -> int:
    """When the hand-off with this sort key was made."""
    return int(sort_key.removeprefix(HANDOFF))


def summary(number: int) -> str:
    """The sort key of the summary of window `number`, counted from 1."""
    return f"{SUMMARY}{number:06d}"


def summary_number(sort_key: str) -> int:
    """The window that the summary with this sort key covers."""
    return int(sort_key.removeprefix(SUMMARY))


def item_type(sort_key: str) -> str:
    """`meta`, `turn`, `handoff` or `summary`."""
    return sort_key.partition("#")[0].lower()


def window_turns(number: int) -> list[str]:
    """The sort keys of the turns of window `number`."""
    last = number * WINDOW_TURNS
    return [turn(n) for n in range(last - WINDOW_TURNS + 1, last + 1)]
