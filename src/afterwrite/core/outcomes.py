"""Outcomes: what becomes of an attempt, a closed set, and the decision after a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

_REASON_CHARACTERS_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Done:
    """It happened."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `after_ms` milliseconds have passed."""

    after_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """Give up on it, keep it whole with the reason, and let everything else of other lanes go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the whole consumer: going on would lose or reorder something."""

    reason: str


Outcome: TypeAlias = Done | Retry | Park | Halt


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when to try again.

    `attempts_max` counts the first attempt; the wait before attempt n+1 is drawn from
    [0, min(backoff_ms_max, backoff_ms_first * 2**(n-1))] (full jitter).
    """

    attempts_max: int = 3
    backoff_ms_first: int = 100
    backoff_ms_max: int = 60_000


def after_failure(policy: RetryPolicy, *, attempt: int, reason: str, jitter: float) -> Retry | Park:
    """What becomes of an attempt that failed; `attempt` counts from 1, `jitter` is drawn from [0, 1)."""
    if attempt >= policy.attempts_max:
        return Park(reason)
    ceiling_ms = min(policy.backoff_ms_max, policy.backoff_ms_first * 2 ** min(attempt - 1, 40))
    return Retry(int(ceiling_ms * jitter), reason)


def reason_of(failure: BaseException) -> str:
    """What the user's code raised, in words that can be stored: bounded, and valid Unicode, whatever they were."""
    name = type(failure).__name__
    try:
        text = str(failure)
    except Exception:  # noqa: BLE001 - code that fails may fail at saying why, too
        text = "(without words: its __str__ fails)"
    reason = f"{name}: {text}" if text else name
    if (place := _place_of(failure)) is not None:
        reason += f" (at {place})"
    if len(reason) > _REASON_CHARACTERS_MAX:
        reason = f"{reason[:_REASON_CHARACTERS_MAX]}… ({len(reason)} characters)"
    return reason.encode("utf-8", "backslashreplace").decode()


def _place_of(failure: BaseException) -> str | None:
    """The file (without its folders) and the line where `failure` was raised."""
    traceback = failure.__traceback__
    if traceback is None:
        return None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno}"
