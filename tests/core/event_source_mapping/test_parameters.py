"""AWS's parameters: their ranges, their defaults, their filters."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from afterwrite.core.event_source_mapping.parameters import MappingSettings, destination_of, settings_of
from afterwrite.errors import DeclarationError, InvalidPattern


def settings(source: Any = "dynamodb", **parameters: Any) -> MappingSettings:
    return settings_of(parameters, source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("BatchSize", 1, 10_000),
        ("MaximumBatchingWindowInSeconds", 0, 300),
        ("ParallelizationFactor", 1, 10),
        ("MaximumRetryAttempts", -1, 10_000),
        ("MaximumRecordAgeInSeconds", 60, 604_800),
        ("TumblingWindowInSeconds", 0, 900),
    ],
)
def test_ranges_s12(name: str, least: int, most: int) -> None:
    settings(**{name: least})
    settings(**{name: most})
    for value in (least - 1, most + 1, "1", 1.5, True):
        if (name, value) == ("MaximumRecordAgeInSeconds", -1):
            continue
        with pytest.raises(DeclarationError, match=name):
            settings(**{name: value})


def test_without_an_end_s12() -> None:
    assert settings(MaximumRetryAttempts=-1, MaximumRecordAgeInSeconds=-1) == settings()
    assert (settings().retries_max, settings().age_ms_max) == (None, None)


def test_defaults_are_those_of_aws_but_for_the_safe_start_s13() -> None:
    found = settings()
    assert (found.batch_size, found.batching_window_ms, found.parallelization_factor) == (100, 0, 1)
    assert (found.bisects, found.reports_item_failures, found.tumbling_window_ms) == (False, False, 0)
    assert found.starting_position == "TRIM_HORIZON"


@pytest.mark.parametrize(
    ("source", "parameters", "words"),
    [
        ("dynamodb", {"Batchsize": 1}, "got Batchsize: write BatchSize"),
        ("dynamodb", {"batch_size": 1}, "got batch_size: write BatchSize"),
        ("dynamodb", {"MaximumBatchingWindow": 1}, "write MaximumBatchingWindowInSeconds"),
        ("dynamodb", {"EventSourceArn": "arn:aws:dynamodb:x"}, "got EventSourceArn: leave it out"),
        ("dynamodb", {"BisectBatchOnFunctionError": "false"}, "True or False, got 'false'"),
        ("dynamodb", {"FunctionResponseTypes": "ReportBatchItemFailures"}, "FunctionResponseTypes"),
        ("dynamodb", {"FunctionResponseTypes": None}, "FunctionResponseTypes"),
        ("dynamodb", {"FunctionResponseTypes": ["Report"]}, "FunctionResponseTypes"),
        ("dynamodb", {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": 1}, "StartingPosition"),
        ("kinesis", {"StartingPosition": "AT_TIMESTAMP"}, "StartingPositionTimestamp"),
        ("kinesis", {"StartingPositionTimestamp": 1}, "StartingPositionTimestamp"),
        ("kinesis", {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": "1"}, "epoch or a datetime"),
        ("kinesis", {"StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": -1}, "not before 1970"),
        ("dynamodb", {"TumblingWindowInSeconds": 1, "ParallelizationFactor": 2}, "a ParallelizationFactor of 1"),
        (
            "dynamodb",
            {"TumblingWindowInSeconds": 1, "FilterCriteria": {"Filters": [{"Pattern": {"eventName": ["INSERT"]}}]}},
            "no FilterCriteria",
        ),
        ("dynamodb", {"FilterCriteria": [{}]}, "FilterCriteria"),
        ("dynamodb", {"FilterCriteria": {"Filters": [{"pattern": "{}"}]}}, "Pattern"),
        ("dynamodb", {"FilterCriteria": {"Filters": [{"Pattern": {"eventName": ["INSERT"]}}] * 6}}, "5 filters"),
    ],
)
def test_what_aws_refuses_is_refused(source: Any, parameters: Any, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        settings(source, **parameters)


@pytest.mark.parametrize(
    "config", [{"OnSuccess": {"Destination": "x"}}, {"OnFailure": "x"}, {"OnFailure": {"Arn": "x"}}, "x"]
)
def test_a_destination_config_of_another_form_is_refused(config: Any) -> None:
    with pytest.raises(DeclarationError, match="DestinationConfig"):
        destination_of({"DestinationConfig": config})


def test_a_destination_by_its_bare_name_is_refused() -> None:
    with pytest.raises(DeclarationError, match="or an ARN, as the failure destination, got 'failed'"):
        destination_of({"DestinationConfig": {"OnFailure": {"Destination": "failed"}}})


def test_a_time_to_start_at_is_a_number_or_a_datetime_as_in_boto3() -> None:
    for at in (1_700_000_000, 1_700_000_000.0, datetime.fromtimestamp(1_700_000_000, UTC)):
        found = settings("kinesis", StartingPosition="AT_TIMESTAMP", StartingPositionTimestamp=at)
        assert found.starting_at_ms == 1_700_000_000_000


def test_an_empty_on_failure_is_none_as_aws_answers_it() -> None:
    assert destination_of({"DestinationConfig": {"OnFailure": {}}}) is None


def test_a_tumbling_window_may_have_empty_filter_criteria_s12() -> None:
    assert settings(TumblingWindowInSeconds=1, FilterCriteria={"Filters": []}).filters == ()


def test_one_of_the_filters_has_to_match_s17() -> None:
    found = settings(
        FilterCriteria={
            "Filters": [
                {"Pattern": '{"eventName": ["REMOVE"]}'},
                {"Pattern": {"dynamodb": {"NewImage": {"status": {"S": ["open"]}}}}},
            ]
        }
    )
    assert found.admits({"eventName": "REMOVE", "dynamodb": {}})
    assert found.admits({"eventName": "INSERT", "dynamodb": {"NewImage": {"status": {"S": "open"}}}})
    assert not found.admits({"eventName": "INSERT", "dynamodb": {"NewImage": {"status": {"S": "closed"}}}})


def test_numeric_operators_never_match_a_number_of_dynamodb_s17() -> None:
    found = settings(
        FilterCriteria={"Filters": [{"Pattern": '{"dynamodb": {"NewImage": {"n": {"N": [{"numeric": [">", 0]}]}}}}'}]}
    )
    assert not found.admits({"dynamodb": {"NewImage": {"n": {"N": "1"}}}})


def test_a_pattern_is_short_and_on_the_fields_of_its_source_s17() -> None:
    with pytest.raises(InvalidPattern):
        settings(FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["%s"]}' % ("x" * 4096)}]})
    with pytest.raises(InvalidPattern):
        settings(FilterCriteria={"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]})
    with pytest.raises(InvalidPattern):
        settings("kinesis", FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]})
    settings(FilterCriteria={"Filters": [{"Pattern": '{"eventName": ["INSERT"], "eventSource": ["aws:dynamodb"]}'}]})
    assert settings("kinesis", FilterCriteria={"Filters": [{"Pattern": '{"data": {"a": [1]}}'}]}).admits(
        {"data": {"a": 1}}
    )


@pytest.mark.parametrize(
    "pattern", ['{"data": ["text"]}', '{"$or": [{"data": {"a": [1]}}, {"data": [{"prefix": "text"}]}]}']
)
def test_a_pattern_on_kinesis_data_is_an_object_s17(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match="data: expected an object, which the record's JSON is"):
        settings("kinesis", FilterCriteria={"Filters": [{"Pattern": pattern}]})
