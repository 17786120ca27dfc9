"""Whether two answers agree, and which of the listed differences they are where they do not."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from differential.systems import Answer

_LIST: Final = Path(__file__).parent / "differences.json"
FINE: Final = "an answer"
_CANCELED: Final = "TransactionCanceledException"
_OLDER_WORDS: Final = (
    (re.compile(r"^1 validation error detected: (?!Value (?:null |at |'))"), ""),
    (re.compile(r"^ExpressionAttributeValues contains invalid value: (.*) for key :\w+$", re.DOTALL), r"\1"),
    (re.compile(r"^(ExpressionAttributeValues can only be specified when using expressions): .*"), r"\1"),
    (
        re.compile(r"^The parameter cannot be converted to a numeric value: $"),
        "The parameter cannot be converted to a numeric value",
    ),
    (
        re.compile(
            r"^One or more parameter values were invalid: (?=Input collection|Must specify|Cannot specify|ALL_PROJ)"
        ),
        "",
    ),
    (re.compile(r"^Input collection .*contains duplicates\.?$"), "Input collection contains duplicates"),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which DynamoDB Local is not DynamoDB, with the word for it.

    `ours` and `theirs` are patterns of outcomes: `Code: message`, or "an answer".
    """

    name: str
    ours: re.Pattern[str]
    theirs: re.Pattern[str]
    why: str
    source: str
    operations: Sequence[str] = field(default=())

    def covers(self, operation: str, ours: str, theirs: str) -> bool:
        """Whether two outcomes are this difference."""
        if self.operations and operation not in self.operations:
            return False
        return bool(self.ours.fullmatch(ours) and self.theirs.fullmatch(theirs))


@cache
def listed() -> tuple[Difference, ...]:
    """The list, in its order, without what is left out before answers are compared."""
    return tuple(
        Difference(
            each["name"],
            re.compile(each["ours"], re.DOTALL),
            re.compile(each["theirs"], re.DOTALL),
            each["why"],
            each["source"],
            tuple(each.get("operations", ())),
        )
        for each in json.loads(_LIST.read_text())
        if "ours" in each
    )


def difference(operation: str, ours: Answer, theirs: Answer) -> Difference | None:
    """The listed difference of two answers, None where they agree. Raises AssertionError where it is not listed."""
    if ours == theirs:
        return None
    ours, theirs = _in_older_words(ours), _without_empty_items(_in_older_words(theirs))
    if ours == theirs:
        return None
    if ours.get("error") == theirs.get("error") == _CANCELED and "CancellationReasons" in theirs:
        return _difference_of_reasons(ours, theirs)
    for each in listed():
        if each.covers(operation, outcome(ours), outcome(theirs)):
            return each
    raise AssertionError("the answers differ, and the difference is not listed")


def _in_older_words(answer: Answer) -> Answer:
    """An answer without what DynamoDB has begun to say otherwise of requests, and DynamoDB Local has not."""
    if answer.get("error") != "ValidationException":
        return answer
    message = str(answer["message"])
    for pattern, older in _OLDER_WORDS:
        message = pattern.sub(older, message)
    return {**answer, "message": message}


def _without_empty_items(answer: Answer) -> Answer:
    """A TransactGetItems' answer without the items of which nothing was asked for that they have."""
    responses = answer.get("Responses")
    if not isinstance(responses, list):
        return answer
    return {**answer, "Responses": [{} if each == {"Item": {}} else each for each in responses]}


def outcome(answer: Mapping[str, Any]) -> str:
    """An answer in short: `Code: message` of an error."""
    return f"{answer['error']}: {answer.get('message') or ''}" if "error" in answer else FINE


def _difference_of_reasons(ours: Answer, theirs: Answer) -> Difference | None:
    found = None
    for one, two in zip(ours["CancellationReasons"], theirs["CancellationReasons"], strict=True):
        if one == two:
            continue
        texts = [f"{reason['Code']}: {reason.get('Message')}" for reason in (one, two)]
        found = next((each for each in listed() if each.covers(_CANCELED, *texts)), None)
        assert found is not None, "the reasons differ, and the difference is not listed"
    return found
