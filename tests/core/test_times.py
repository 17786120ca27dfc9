from __future__ import annotations

from afterwrite.core.times import iso_milliseconds, iso_seconds


def test_times_are_shown_in_utc() -> None:
    assert iso_seconds(1_795_280_706_789) == "2026-11-21T17:05:06Z"
    assert iso_milliseconds(1_795_280_706_789) == "2026-11-21T17:05:06.789Z"
    assert iso_milliseconds(1_795_280_706_007) == "2026-11-21T17:05:06.007Z"
