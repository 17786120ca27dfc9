"""What declarations may say: names, counts, ages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias, get_args

from afterwrite.core.outcomes import RetryPolicy
from afterwrite.errors import DeclarationError

Exhausted: TypeAlias = Literal["dead_letter", "park"]
"""What becomes of a message that failed for good: it goes to the dead letter queue and its lane goes on, or it stays
where it is and its lane waits behind it."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,254}")
# It names files.
_DELIVERY_STREAM_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def check_name(kind: str, name: str, taken: Sequence[str]) -> None:
    """Raise DeclarationError for a name that cannot be had, or is taken."""
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"expected the {kind}'s name to be 1 to 255 letters, digits, '-', '_' or '.', no '.' first, got {name!r}"
        )
    if name in taken:
        raise DeclarationError(f"two declarations of the {kind} {name!r}: declare it once and use the value")


def check_delivery_stream_name(name: str) -> None:
    """Raise DeclarationError for a name that no delivery stream, and so no file of the lake, may have."""
    if not _DELIVERY_STREAM_NAME.fullmatch(name):
        raise DeclarationError(
            "expected the delivery stream's name to be 1 to 64 letters, digits, '-', '_' or '.', no '.' first, "
            f"got {name!r}"
        )


def at_least_one(what: str, value: int) -> int:
    """The value. Raises DeclarationError below 1."""
    if value < 1:
        raise DeclarationError(f"expected {what} of at least 1, got {value}")
    return value


def age_ms_max(age_max_s: float | None) -> int | None:
    """The age in milliseconds, None for no limit. Raises DeclarationError."""
    if age_max_s is not None and not age_max_s > 0:
        raise DeclarationError(f"expected age_max_s above 0, or None for no limit, got {age_max_s}")
    return None if age_max_s is None else int(age_max_s * 1000)


def exhaustion(given: Exhausted) -> Exhausted:
    """What was given. Raises DeclarationError where it is neither."""
    if given not in get_args(Exhausted):
        raise DeclarationError(f"expected exhausted to be one of {', '.join(get_args(Exhausted))}, got {given!r}")
    return given


def retry_policy(retries: int, timeout_s: float, backoff_s: float, age_max_s: float | None) -> RetryPolicy:
    """A function's retries as a policy. Raises DeclarationError."""
    if retries < 0 or timeout_s <= 0 or backoff_s < 0:
        raise DeclarationError(
            "expected retries and backoff_s of at least 0 and timeout_s above 0, "
            f"got {retries}, {backoff_s} and {timeout_s}"
        )
    return RetryPolicy(
        attempts_max=retries + 1, backoff_ms_first=int(backoff_s * 1000), age_ms_max=age_ms_max(age_max_s)
    )
