from __future__ import annotations

import pytest

from afterwrite.core.versions import as_int64, is_later, is_version

INT64_MAX = 2**63 - 1


@pytest.mark.parametrize(
    ("given", "held", "later"),
    [
        ("10", "9", True),
        ("9", "10", False),
        ("5", "5", False),
        ("1" + "0" * 21, "9" * 21, True),
        ("111437100000000025684653891", "111437100000000025684653890", True),
    ],
)
def test_versions_compare_as_numbers_of_any_length_s9(given: str, held: str, later: bool) -> None:
    assert is_later(given, held) is later


@pytest.mark.parametrize(("text", "holds"), [("0", True), ("42", True), ("", False), ("007", False), ("-1", False)])
def test_a_version_is_a_whole_number(text: str, holds: bool) -> None:
    assert is_version(text) is holds
    assert not is_version("\u0661")


def test_a_version_of_64_bits_is_itself_or_made_from_the_time_s36() -> None:
    assert as_int64("7", 1_790_000_000_123) == 7
    assert as_int64(str(INT64_MAX), 0) == INT64_MAX
    sequence = "111437100000000025684653890"
    first, second = as_int64(sequence, 1_790_000_000_123), as_int64(sequence, 1_790_000_000_124)
    assert 0 < first < second < INT64_MAX
    assert as_int64("0", 0) >= 1, "a document of version 0 cannot be deleted by query"
