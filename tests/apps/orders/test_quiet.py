"""Quiet hours: when they are, and how long they last from now."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from orders.quiet import wait_s
from orders.shop import QUIET_EVERY, quiet_hours


def at_ms(text: str) -> int:
    return round(datetime.fromisoformat(f"2026-11-21T{text}+00:00").timestamp() * 1000)


NIGHT = {"from": "22:00", "until": "07:00"}
NOON = {"from": "12:00", "until": "13:30"}


@pytest.mark.parametrize(
    ("quiet", "now", "wait"),
    [
        (None, "23:00", "0"),
        (NIGHT, "21:59:59", "0"),
        (NIGHT, "22:00", "32400"),
        (NIGHT, "00:00", "25200"),
        (NIGHT, "06:59:59.999", "0.001"),
        (NIGHT, "07:00", "0"),
        (NOON, "12:00:00.500", "5399.5"),
        (NOON, "13:30", "0"),
        ({**NIGHT, "utcOffsetMinutes": 60}, "21:00", "32400"),
        ({**NIGHT, "utcOffsetMinutes": 60}, "06:00", "0"),
        ({**NIGHT, "utcOffsetMinutes": -300}, "02:59", "0"),
        ({**NIGHT, "utcOffsetMinutes": -300}, "03:00", "32400"),
        ({"from": "12:00", "until": "12:00"}, "12:00", "0"),
    ],
)
def test_how_long_it_is_until_quiet_hours_end(quiet: Any, now: str, wait: str) -> None:
    assert wait_s(quiet, at_ms(now)) == Decimal(wait)


@pytest.mark.parametrize("number", range(0, 60, QUIET_EVERY))
def test_made_quiet_hours_end_when_they_are_to_wherever_the_customer_is(number: int) -> None:
    ends = datetime(2026, 11, 21, 23, 59, 50, tzinfo=UTC)
    quiet = quiet_hours(number, ends)
    assert wait_s(quiet, at_ms("23:59:40")) == 10
    assert wait_s(quiet, at_ms("23:59:50")) == 0


def test_what_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        wait_s({"from": "late", "until": "07:00"}, 0)
