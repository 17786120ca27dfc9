"""What a response says of its batch."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.event_source_mapping.parameters import MappingSettings
from afterwrite.core.event_source_mapping.responses import Verdict, read_response

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


LIST = "a list as its batchItemFailures, got "
RECORD = "objects with a record's sequence number as itemIdentifier in its batchItemFailures, got "


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        (failed(""), RECORD + "{'itemIdentifier': ''}"),
        (failed(None), RECORD + "{'itemIdentifier': None}"),
        (failed("100000000000000000012"), RECORD + "{'itemIdentifier': '100000000000000000012'}"),
        (failed(100000000000000000010), RECORD + "{'itemIdentifier': 100000000000000000010}"),
        ({"batchItemFailures": [{"id": NUMBERS[1]}]}, RECORD + "{'id': '100000000000000000010'}"),
        ({"batchItemFailures": [NUMBERS[1]]}, RECORD + "'100000000000000000010'"),
        ({"batchItemFailures": NUMBERS[1]}, LIST + "'100000000000000000010'"),
        ({"batchItemFailures": {}}, LIST + "{}"),
        (failed(NUMBERS[2], "another"), RECORD + "{'itemIdentifier': 'another'}"),
        (failed("x" * 200), RECORD + "{'itemIdentifier': 'xxx"),
        ("done", "an object, got 'done'"),
        (7, "an object, got 7"),
        ([failed(NUMBERS[1])], "an object, got [{'batchItemFailures': "),
    ],
)
def test_failure_of_the_whole_batch_s2(response: Any, fault: str) -> None:
    verdict = read_response(STREAM, response, NUMBERS)
    assert verdict.failed_from == 0
    assert verdict.fault is not None
    assert verdict.fault.startswith(f"expected of the function's response {fault}")
    assert verdict.fault.endswith(": the whole batch has failed")
    assert len(verdict.fault) < 250


def test_what_a_function_reports_is_no_fault_of_its_response() -> None:
    assert read_response(STREAM, failed(NUMBERS[0]), NUMBERS) == Verdict(0)
    assert read_response(STREAM, None, NUMBERS) == Verdict(None)


def test_the_lowest_record_decides_not_the_first_text_s9() -> None:
    assert read_response(STREAM, failed(NUMBERS[2], NUMBERS[1]), NUMBERS).failed_from == 1
    assert read_response(STREAM, failed(NUMBERS[2]), NUMBERS).failed_from == 2


@pytest.mark.parametrize("response", [failed(NUMBERS[0]), "done", None])
def test_nothing_is_read_without_report_batch_item_failures_s4(response: Any) -> None:
    assert read_response(MappingSettings(), response, NUMBERS).failed_from is None


def test_a_tumbling_window_needs_a_state_s11() -> None:
    window = MappingSettings(reports_item_failures=True, tumbling_window_ms=1000)
    assert read_response(window, {"state": {"a": 1}, **failed(NUMBERS[1])}, NUMBERS).failed_from == 1
    assert read_response(window, {"state": {"a": 1}}, NUMBERS).state == b'{"a":1}'
    assert read_response(window, failed(NUMBERS[1]), NUMBERS).failed_from == 0
    assert read_response(window, None, NUMBERS) == Verdict(
        0, fault="expected of the function's response an object as its state, got None: the whole batch has failed"
    )
    large = "x" * (1 << 20)
    assert read_response(window, {"state": {"a": large}}, NUMBERS) == Verdict(None, b'{"a":"%b"}' % large.encode())
