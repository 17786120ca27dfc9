"""What a function's response says of its batch (S1 to S4, S11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from afterwrite.core.event_source_mapping.parameters import MappingSettings

STATE_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a response says: from which record on the batch has failed, None where nothing has.

    `state` is a tumbling window's new state as JSON text, None where it outgrew its limit or there is no window.
    """

    failed_from: int | None
    state: bytes | None = None


def read_response(settings: MappingSettings, response: Any, sequence_numbers: Sequence[str]) -> Verdict:
    """The verdict of a response on the batch of records with the sequence numbers.

    `response` is parsed JSON. Without ReportBatchItemFailures nothing in it is a failure (S4); a tumbling window's
    response without a state is one (S11).
    """
    failed_from = _failed_from(settings, response, sequence_numbers) if settings.reports_item_failures else None
    if not settings.tumbling_window_ms:
        return Verdict(failed_from)
    if not isinstance(response, Mapping) or not isinstance(response.get("state"), Mapping):
        return Verdict(0)
    state = orjson.dumps(response["state"])
    return Verdict(failed_from, state if len(state) <= STATE_BYTES_MAX else None)


def _failed_from(settings: MappingSettings, response: Any, sequence_numbers: Sequence[str]) -> int | None:
    if response is None or response == [] or (response == "" and settings.source == "kinesis"):
        return None
    if not isinstance(response, Mapping):
        return 0
    failures = response.get("batchItemFailures")
    if failures is None or failures == []:
        return None
    if not isinstance(failures, list):
        return 0
    places = {number: index for index, number in enumerate(sequence_numbers)}
    # The lowest decides (S1); whatever is no record of the batch fails the batch (S2).
    return min(_place(failure, places) for failure in failures)


def _place(failure: Any, places: Mapping[str, int]) -> int:
    identifier = failure.get("itemIdentifier") if isinstance(failure, Mapping) else None
    return places.get(identifier, 0) if isinstance(identifier, str) else 0
