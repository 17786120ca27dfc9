"""Outcomes: what becomes of an attempt, a closed set, and the decision after a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from afterwrite.core.failures import Failure

Condition: TypeAlias = Literal[
    "attempts exhausted", "too old", "rejected", "unreadable", "hangs", "no outcome", "received too often"
]
"""Why something was given up."""

_DOUBLINGS_MAX: Final = 40


@dataclass(frozen=True, slots=True)
class Done:
    """It happened."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `after_ms` milliseconds have passed; not `counted`, as if it had not been tried."""

    after_ms: int
    failure: Failure
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Park:
    """Give up on it, keep it whole with the failure, and let everything else of other lanes go on."""

    failure: Failure
    condition: Condition = "attempts exhausted"

    @property
    def reason(self) -> str:
        """The failure in words."""
        return self.failure.reason


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop the whole consumer: going on would lose or reorder something."""

    reason: str


Outcome: TypeAlias = Done | Retry | Park | Halt


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, until when and how soon to try again.

    `attempts_max` counts the first attempt; the wait before attempt n+1 is drawn from
    [0, min(backoff_ms_max, backoff_ms_first * 2**(n-1))] (full jitter). After a failure nothing older than
    `age_ms_max` is tried again; None sets no limit.
    """

    attempts_max: int = 3
    backoff_ms_first: int = 100
    backoff_ms_max: int = 60_000
    age_ms_max: int | None = None


def after_failure(
    policy: RetryPolicy,
    failed: Failure,
    *,
    attempt: int,
    age_ms: int,
    failing_ms: int,
    jitter: float,
    probe: bool = False,
) -> Retry | Park:
    """What becomes of an attempt that failed; `attempt` counts from 1, `jitter` is drawn from [0, 1).

    `failing_ms` is how long it is since the first attempt that failed. A `probe` asked whether a target is back: that
    it is not costs its message no attempt.
    """
    directive = failed.directive
    if not directive.retried:
        return Park(failed, "rejected")
    if policy.age_ms_max is not None and age_ms >= policy.age_ms_max:
        return Park(failed, "too old")
    counted = directive.uses_attempts and not (probe and directive.of_target)
    if counted and attempt >= policy.attempts_max:
        return Park(failed, "attempts exhausted")
    if counted:
        ceiling_ms = policy.backoff_ms_first * 2 ** min(attempt - 1, _DOUBLINGS_MAX)
    else:
        # No attempt is counted that could double the wait: the time, which each wait adds to, does. It is not the age,
        # most of which a message may have waited behind others.
        ceiling_ms = max(policy.backoff_ms_first, failing_ms)
    wait_ms = int(min(policy.backoff_ms_max, ceiling_ms) * jitter)
    return Retry(max(wait_ms, min(failed.after_ms, policy.backoff_ms_max)), failed, counted)
