"""A mapping's parameters: AWS's own names and ranges (S12), checked, and made values that the decisions use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeAlias, TypedDict

import orjson

from afterwrite.core.patterns import LAMBDA, Dialect, Pattern
from afterwrite.core.patterns import compile as compile_pattern
from afterwrite.errors import DeclarationError, InvalidPattern

SourceKind: TypeAlias = Literal["dynamodb", "kinesis"]

REPORT_BATCH_ITEM_FAILURES: Final = "ReportBatchItemFailures"
TRIM_HORIZON: Final = "TRIM_HORIZON"
LATEST: Final = "LATEST"
AT_TIMESTAMP: Final = "AT_TIMESTAMP"
_FILTERS_MAX: Final = 5
_PATTERN_CHARACTERS_MAX: Final = 4096
# Of a Kinesis record a filter sees the data only, which has to be JSON.
_KINESIS_FILTER: Final = replace(
    LAMBDA, name="Lambda FilterCriteria on Kinesis", roots=frozenset(("data",)), roots_are_objects=True
)
_FILTER_DIALECTS: Final[Mapping[SourceKind, Dialect]] = {"dynamodb": LAMBDA, "kinesis": _KINESIS_FILTER}

# The least and the most of each number; -1 is "without an end" where it is allowed (S10, S11, S12).
_RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "BatchSize": (1, 10_000),
    "MaximumBatchingWindowInSeconds": (0, 300),
    "ParallelizationFactor": (1, 10),
    "MaximumRetryAttempts": (-1, 10_000),
    "MaximumRecordAgeInSeconds": (-1, 604_800),
    "TumblingWindowInSeconds": (0, 900),
}
_RECORD_AGE_S_MIN: Final = 60


class EventSourceMappingParameters(TypedDict, total=False):
    """The parameters of CreateEventSourceMapping that concern streams, by their names there.

    `DestinationConfig` is `{"OnFailure": {"Destination": …}}`; the destination is a queue, a topic or a function of
    the app, or an ARN: of one of these, or `arn:aws:s3:::NAME` for files in the directory `NAME`. A filter's
    `Pattern` is JSON text, as on AWS, or the object.
    """

    FunctionName: str
    BatchSize: int
    MaximumBatchingWindowInSeconds: int
    ParallelizationFactor: int
    BisectBatchOnFunctionError: bool
    MaximumRetryAttempts: int
    MaximumRecordAgeInSeconds: int
    FunctionResponseTypes: Sequence[str]
    FilterCriteria: Mapping[str, Any]
    DestinationConfig: Mapping[str, Any]
    StartingPosition: str
    StartingPositionTimestamp: float | datetime
    TumblingWindowInSeconds: int


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """The parameters as the decisions use them; None for a maximum that there is not."""

    batch_size: int = 100
    batching_window_ms: int = 0
    parallelization_factor: int = 1
    bisects: bool = False
    retries_max: int | None = None
    age_ms_max: int | None = None
    reports_item_failures: bool = False
    tumbling_window_ms: int = 0
    starting_position: str = TRIM_HORIZON
    starting_at_ms: int = 0
    filters: tuple[Pattern, ...] = ()
    source: SourceKind = "dynamodb"

    def admits(self, record: Mapping[str, Any]) -> bool:
        """Whether a record passes the filters, which name only what they may see. Without filters all do (S17)."""
        return not self.filters or any(pattern.matches(record) for pattern in self.filters)


def settings_of(parameters: EventSourceMappingParameters, source: SourceKind) -> MappingSettings:
    """The settings that AWS's parameters ask for. Raises DeclarationError for what AWS refuses."""
    _refuse_unknown(parameters)
    bisects: Any = parameters.get("BisectBatchOnFunctionError", False)
    if not isinstance(bisects, bool):
        raise DeclarationError(f"expected BisectBatchOnFunctionError to be True or False, got {bisects!r}")
    response_types: Any = parameters.get("FunctionResponseTypes", ())
    if response_types not in ((), [], [REPORT_BATCH_ITEM_FAILURES], (REPORT_BATCH_ITEM_FAILURES,)):
        raise DeclarationError(
            f"expected FunctionResponseTypes of [] or [{REPORT_BATCH_ITEM_FAILURES!r}], got {response_types!r}"
        )
    age_s = _number(parameters, "MaximumRecordAgeInSeconds", -1)
    if -1 < age_s < _RECORD_AGE_S_MIN:
        raise DeclarationError(f"expected MaximumRecordAgeInSeconds of -1, or from 60 to 604800, got {age_s}")
    retries = _number(parameters, "MaximumRetryAttempts", -1)
    position, at_ms = _start(parameters, source)
    filters = _filters(parameters.get("FilterCriteria"), source)
    window_s = _number(parameters, "TumblingWindowInSeconds", 0)
    factor = _number(parameters, "ParallelizationFactor", 1)
    if window_s and (filters or factor > 1):
        raise DeclarationError(
            "expected with TumblingWindowInSeconds a ParallelizationFactor of 1 and no FilterCriteria, "
            f"got {factor} and {len(filters)} filters: Lambda takes neither with a window"
        )
    return MappingSettings(
        batch_size=_number(parameters, "BatchSize", 100),
        batching_window_ms=1000 * _number(parameters, "MaximumBatchingWindowInSeconds", 0),
        parallelization_factor=factor,
        bisects=bisects,
        retries_max=None if retries == -1 else retries,
        age_ms_max=None if age_s == -1 else 1000 * age_s,
        reports_item_failures=bool(response_types),
        tumbling_window_ms=1000 * window_s,
        starting_position=position,
        starting_at_ms=at_ms,
        filters=filters,
        source=source,
    )


def destination_of(parameters: EventSourceMappingParameters) -> Any:
    """What `DestinationConfig` names for failures, None where nothing. Raises DeclarationError."""
    config = parameters.get("DestinationConfig")
    if config is None:
        return None
    on_failure = config.get("OnFailure") if isinstance(config, Mapping) else None
    if not isinstance(on_failure, Mapping) or set(config) != {"OnFailure"} or not set(on_failure) <= {"Destination"}:
        raise DeclarationError(
            f'expected a DestinationConfig of {{"OnFailure": {{"Destination": …}}}}, as streams have it, got {config!r}'
        )
    destination = on_failure.get("Destination")
    if isinstance(destination, str) and not destination.startswith("arn:"):
        raise DeclarationError(
            "expected what the app's declaration of a queue, a topic or a function returned, or an ARN, "
            f"as the failure destination, got {destination!r}"
        )
    return destination


def _refuse_unknown(parameters: Mapping[str, Any]) -> None:
    """Raise DeclarationError for names that are not among the parameters; it says which one may be meant."""
    known = {name.lower(): name for name in EventSourceMappingParameters.__annotations__}
    for name in sorted(set(parameters) - set(known.values())):
        meant = get_close_matches(name.replace("_", "").lower(), known, n=1, cutoff=0.75)
        what_to_do = f"write {known[meant[0]]}" if meant else "leave it out"
        raise DeclarationError(
            f"expected parameters of an event source mapping ({', '.join(known.values())}), got {name}: {what_to_do}"
        )


def _number(parameters: EventSourceMappingParameters, name: str, default: int) -> int:
    value: Any = parameters.get(name, default)
    least, most = _RANGES[name]
    if type(value) is not int or not least <= value <= most:
        raise DeclarationError(f"expected {name} from {least} to {most}, got {value!r}")
    return value


def _start(parameters: EventSourceMappingParameters, source: SourceKind) -> tuple[str, int]:
    position = parameters.get("StartingPosition", TRIM_HORIZON)
    known = (TRIM_HORIZON, LATEST) if source == "dynamodb" else (TRIM_HORIZON, LATEST, AT_TIMESTAMP)
    if position not in known:
        raise DeclarationError(f"expected a StartingPosition of {', '.join(known)} for {source}, got {position!r}")
    at_s: Any = parameters.get("StartingPositionTimestamp")
    if (position == AT_TIMESTAMP) != (at_s is not None):
        raise DeclarationError(
            f"expected StartingPositionTimestamp with {AT_TIMESTAMP} and nothing else, got {at_s!r} with {position}"
        )
    if isinstance(at_s, datetime):
        at_s = at_s.timestamp()
    if at_s is not None and (isinstance(at_s, bool) or not isinstance(at_s, int | float)):
        raise DeclarationError(
            f"expected StartingPositionTimestamp as seconds since the epoch or a datetime, got {at_s!r}"
        )
    if at_s is not None and at_s < 0:
        raise DeclarationError(f"expected a StartingPositionTimestamp that is not before 1970, got {at_s!r}")
    return position, int((at_s or 0) * 1000)


def _filters(criteria: Any, source: SourceKind) -> tuple[Pattern, ...]:
    """The compiled patterns, at most five (S17). Raises DeclarationError and InvalidPattern."""
    if criteria is None:
        return ()
    filters = criteria.get("Filters") if isinstance(criteria, Mapping) else None
    if not isinstance(filters, Sequence) or len(filters) > _FILTERS_MAX:
        raise DeclarationError(
            f'expected FilterCriteria of {{"Filters": [{{"Pattern": …}}, …]}} with at most 5 filters, got {criteria!r}'
        )
    patterns: list[Pattern] = []
    for each in filters:
        pattern = each.get("Pattern") if isinstance(each, Mapping) else None
        if not isinstance(pattern, str | Mapping):
            raise DeclarationError(f'expected a filter of {{"Pattern": JSON text or an object}}, got {each!r}')
        text = pattern if isinstance(pattern, str) else orjson.dumps(pattern).decode()
        if len(text) > _PATTERN_CHARACTERS_MAX:
            raise InvalidPattern(f"expected a filter's pattern of at most 4096 characters, got {len(text)}")
        patterns.append(compile_pattern(text, _FILTER_DIALECTS[source]))
    return tuple(patterns)
