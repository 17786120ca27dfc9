"""What a response says of its batch."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.event_source_mapping.parameters import MappingSettings
from afterwrite.core.event_source_mapping.responses import read_response

NUMBERS = ["100000000000000000009", "100000000000000000010", "1000000000000000000011"]
STREAM = MappingSettings(reports_item_failures=True)
KINESIS = MappingSettings(reports_item_failures=True, source="kinesis")


def failed(*identifiers: Any) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in identifiers]}


@pytest.mark.parametrize("response", [[], None, {}, {"batchItemFailures": []}, {"batchItemFailures": None}])
@pytest.mark.parametrize("settings", [STREAM, KINESIS])
def test_success_s2(settings: MappingSettings, response: Any) -> None:
    assert read_response(settings, response, NUMBERS).failed_from is None


def test_the_empty_text_is_success_for_kinesis_alone_s2() -> None:
    assert read_response(KINESIS, "", NUMBERS).failed_from is None
    assert read_response(STREAM, "", NUMBERS).failed_from == 0


@pytest.mark.parametrize(
    "response",
    [
        failed(""),
        failed(None),
        failed("100000000000000000012"),
        failed(100000000000000000010),
        {"batchItemFailures": [{"id": NUMBERS[1]}]},
        {"batchItemFailures": [NUMBERS[1]]},
        {"batchItemFailures": NUMBERS[1]},
        failed(NUMBERS[2], "another"),
        "done",
        7,
        [failed(NUMBERS[1])],
    ],
)
def test_failure_of_the_whole_batch_s2(response: Any) -> None:
    assert read_response(STREAM, response, NUMBERS).failed_from == 0


def test_the_lowest_record_decides_not_the_first_text_s9() -> None:
    assert read_response(STREAM, failed(NUMBERS[2], NUMBERS[1]), NUMBERS).failed_from == 1
    assert read_response(STREAM, failed(NUMBERS[2]), NUMBERS).failed_from == 2


@pytest.mark.parametrize("response", [failed(NUMBERS[0]), "done", None])
def test_nothing_is_read_without_report_batch_item_failures_s4(response: Any) -> None:
    assert read_response(MappingSettings(), response, NUMBERS).failed_from is None


def test_a_tumbling_window_needs_a_state_of_at_most_one_mib_s11() -> None:
    window = MappingSettings(reports_item_failures=True, tumbling_window_ms=1000)
    assert read_response(window, {"state": {"a": 1}, **failed(NUMBERS[1])}, NUMBERS).failed_from == 1
    assert read_response(window, {"state": {"a": 1}}, NUMBERS).state == b'{"a":1}'
    assert read_response(window, failed(NUMBERS[1]), NUMBERS).failed_from == 0
    assert read_response(window, None, NUMBERS).failed_from == 0
    too_large = read_response(window, {"state": {"a": "x" * (1 << 20)}}, NUMBERS)
    assert (too_large.failed_from, too_large.state) == (None, None)
