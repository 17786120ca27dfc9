"""What a stream's ARN looks like is found out in time that grows with it, however it is made up."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from afterwrite.server.kinesis_constraints import _ARN_MATCHED, _ARN_PATTERN

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/name"
PIECES = ["arn:aws", ":kinesis:", ":123456789012:", "stream/", "x", " ", "\n", "12", ":"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_it_means_what_the_pattern_says(text: str) -> None:
    for arn in (text, f"arn:aws{text}", f"arn:aws:kinesis:{text}", f"arn:aws:kinesis:{text}:123456789012:stream/x"):
        assert bool(re.fullmatch(_ARN_MATCHED, arn, re.ASCII)) == bool(re.fullmatch(_ARN_PATTERN, arn, re.ASCII))


def test_a_long_one_that_is_none_is_soon_refused() -> None:
    # The pattern as it is told would be tried for hours.
    for end in (" ", "\n"):
        assert not re.fullmatch(_ARN_MATCHED, ARN * 20_000 + end, re.ASCII)
    assert re.fullmatch(_ARN_MATCHED, ARN * 20_000, re.ASCII)
