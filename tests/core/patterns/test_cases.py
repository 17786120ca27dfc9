"""Every verdict of AWS's own matcher, and every recorded one of the real service.

The four cases with repeated keys repeat them in the pattern, so they hold here too: `compile` reads text pair by
pair. No case needs an event's raw text.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest

from afterwrite.core.patterns import PatternSet, compile
from afterwrite.errors import InvalidPattern

_CASES = Path(__file__).parent / "cases"
_FILES = {"pattern_cases.jsonl.gz": 3368, "pattern_cases_aws.jsonl.gz": 156}


def _exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def _cases(file: str) -> list[dict[str, Any]]:
    with gzip.open(_CASES / file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize("parse", [orjson.loads, _exact], ids=["doubles", "decimals"])
@pytest.mark.parametrize("file", _FILES)
def test_every_verdict_is_the_reference_s(file: str, parse: Callable[[str], Any]) -> None:
    cases = _cases(file)
    assert len(cases) == _FILES[file]
    assert [case["name"] for case in cases if _verdict(case, parse) != case["match"]] == []


def _verdict(case: dict[str, Any], parse: Callable[[str], Any]) -> bool | None:
    """`None` for a pattern that is refused, as in the recorded cases."""
    try:
        return compile(case["pattern"]).matches(parse(case["event"]))
    except InvalidPattern:
        return None


def test_all_patterns_of_the_reference_work_in_one_set() -> None:
    cases = _cases("pattern_cases.jsonl.gz")
    together = PatternSet()
    for case in cases:
        if case["pattern"] not in together:
            together.add(case["pattern"], case["pattern"])
    wrong = [
        case["name"]
        for case in cases
        if (case["pattern"] in together.match(orjson.loads(case["event"]))) is not case["match"]
    ]
    assert wrong == []
