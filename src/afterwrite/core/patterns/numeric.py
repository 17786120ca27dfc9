"""When two JSON numbers are the same number, in the services' arithmetic (P2, S32).

Values are what a JSON parser yields: `int`, `float`, or `Decimal` where the text was kept.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

_EXACT_INTEGER_MAX = 2**53
_SNS_MAGNITUDE_MAX = 1e9


def exact_double(value: Any) -> float | None:
    """The value as a double, or `None` where it is no number or the double would be written otherwise (P2).

    "Written otherwise" is about the double's shortest decimal text: 0.1 has a double, 2**60 has none, for its
    double reads 1.152921504606847E18.
    """
    kind = type(value)
    if kind is int:
        if -_EXACT_INTEGER_MAX <= value <= _EXACT_INTEGER_MAX:
            return value  # type: ignore[no-any-return]
        return _round_trip(value)
    if kind is float:
        return value if value - value == 0.0 else None
    if kind is Decimal:
        return _round_trip(value) if value.is_finite() else None
    return None


def _round_trip(value: int | Decimal) -> float | None:
    try:
        double = float(value)
    except OverflowError:
        return None
    return double if Decimal(repr(double)) == value else None


def exact_decimal(value: Any) -> Decimal | None:
    """The value with all its digits, or `None` where it is no number; a float is what it is written as."""
    if type(value) is float:
        value = Decimal(repr(value))
    elif type(value) is int:
        return Decimal(value)
    return value if type(value) is Decimal and value.is_finite() else None


def five_decimals(value: Any) -> float | None:
    """SNS's comparison: within a thousand million either way, to five digits after the point (S32)."""
    if type(value) not in (int, float, Decimal):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return round(number, 5) if -_SNS_MAGNITUDE_MAX <= number <= _SNS_MAGNITUDE_MAX else None


def text(value: Any) -> str:
    """The number as it is written, which exact matching falls back to where no double is exact (P2)."""
    # Not str(int), which refuses very long numbers.
    return repr(value) if type(value) is float else str(Decimal(value))
