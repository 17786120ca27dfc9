"""What an archive's ARN looks like is found out in time that grows with it, however it is made up."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from afterwrite.server.eventbridge_constraints import _ARN_MATCHED, _ARN_PATTERN

PIECES = ["arn:aws", "-cn", ":events:", "us-east-1:", "123456789012", ":", "/", "archive", "x", " ", "\n", ":events"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_it_means_what_the_pattern_says(text: str) -> None:
    for arn in (text, f"arn:aws{text}", f"arn:aws:events:us-east-1:{text}", f"arn:aws:events:{text}:archive/x"):
        # At the end, `$` allows a line's end, which the service's own `matches` does not.
        told = re.fullmatch(_ARN_PATTERN.removesuffix("$"), arn, re.ASCII)
        assert bool(re.fullmatch(_ARN_MATCHED, arn, re.ASCII)) == bool(told)


def test_a_long_one_that_is_none_is_soon_refused() -> None:
    arn = "arn:aws:events:us-east-1:000000000000:" + "archive/" * 100_000
    assert not re.fullmatch(_ARN_MATCHED, arn + "\n", re.ASCII)
    assert not re.fullmatch(_ARN_MATCHED, f"arn:aws{'-' * 1_000_000}", re.ASCII)
    assert re.fullmatch(_ARN_MATCHED, arn + "name", re.ASCII)
