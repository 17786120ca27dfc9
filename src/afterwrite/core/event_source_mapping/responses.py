"""What a function's response says of its batch (S1 to S4, S11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from afterwrite.core.event_source_mapping.parameters import MappingSettings

_SHOWN_CHARACTERS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a response says: from which record on the batch has failed, None where nothing has.

    `state` is a tumbling window's new state as JSON text, None where there is no window.
    `fault` is what is malformed in a response that fails the whole batch by that.
    """

    failed_from: int | None
    state: bytes | None = None
    fault: str | None = None


def read_response(settings: MappingSettings, response: Any, sequence_numbers: Sequence[str]) -> Verdict:
    """The verdict of a response on the batch of records with the sequence numbers.

    `response` is parsed JSON. Without ReportBatchItemFailures nothing in it is a failure (S4); a tumbling window's
    response without a state is one (S11).
    """
    verdict = Verdict(None)
    if settings.reports_item_failures:
        verdict = _reported(settings, response, sequence_numbers)
    if not settings.tumbling_window_ms:
        return verdict
    found = response.get("state") if isinstance(response, Mapping) else None
    if not isinstance(found, Mapping):
        return _malformed("an object as its state", found)
    return replace(verdict, state=orjson.dumps(found))


def _reported(settings: MappingSettings, response: Any, sequence_numbers: Sequence[str]) -> Verdict:
    if response is None or response == [] or (response == "" and settings.source == "kinesis"):
        return Verdict(None)
    if not isinstance(response, Mapping):
        return _malformed("an object", response)
    failures = response.get("batchItemFailures")
    if failures is None or failures == []:
        return Verdict(None)
    if not isinstance(failures, list):
        return _malformed("a list as its batchItemFailures", failures)
    places = {number: index for index, number in enumerate(sequence_numbers)}
    failed: list[int] = []
    for failure in failures:
        identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
        if not isinstance(identifier, str) or identifier not in places:
            expected = "objects with a record's sequence number as itemIdentifier in its batchItemFailures"
            return _malformed(expected, failure)
        failed.append(places[identifier])
    return Verdict(min(failed))  # the lowest decides (S1)


def _malformed(expected: str, found: Any) -> Verdict:
    """Whatever names no record of the batch fails the batch (S2)."""
    shown = repr(found)
    if len(shown) > _SHOWN_CHARACTERS_MAX:
        shown = f"{shown[:_SHOWN_CHARACTERS_MAX]}…"
    return Verdict(0, fault=f"expected of the function's response {expected}, got {shown}: the whole batch has failed")
