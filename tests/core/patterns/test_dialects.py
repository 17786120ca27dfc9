"""What each service refuses of the language that EventBridge takes."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.patterns import EVENTBRIDGE, LAMBDA, PIPES, SNS_ATTRIBUTES, SNS_BODY, Dialect, compile
from afterwrite.errors import InvalidPattern

_ALL = (EVENTBRIDGE, LAMBDA, PIPES, SNS_ATTRIBUTES, SNS_BODY)

_TAKEN_BY: list[tuple[list[Any], tuple[Dialect, ...]]] = [
    (["x", 1, True, None], _ALL),
    ([{"prefix": "x"}, {"suffix": "y"}, {"equals-ignore-case": "z"}], _ALL),
    ([{"anything-but": ["x"]}, {"anything-but": 1}, {"exists": True}], _ALL),
    ([{"numeric": [">", 0, "<=", 5]}], _ALL),
    ([{"wildcard": "a*"}], (EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY)),
    ([{"cidr": "10.0.0.0/8"}], (EVENTBRIDGE, PIPES, SNS_ATTRIBUTES, SNS_BODY)),
    ([{"prefix": {"equals-ignore-case": "x"}}], (EVENTBRIDGE, PIPES)),
    ([{"anything-but": {"prefix": "x"}}], (EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY)),
    ([{"anything-but": {"suffix": "x"}}], (EVENTBRIDGE,)),
    ([{"anything-but": {"equals-ignore-case": "x"}}], (EVENTBRIDGE,)),
    ([{"anything-but": {"wildcard": "x*"}}], (EVENTBRIDGE, SNS_ATTRIBUTES, SNS_BODY)),
    ([{"numeric": ["<", 2e9]}], (EVENTBRIDGE, LAMBDA, PIPES)),
]


@pytest.mark.parametrize(("matchers", "takers"), _TAKEN_BY)
@pytest.mark.parametrize("dialect", _ALL, ids=lambda dialect: dialect.name)
def test_p11_s17_s32_each_dialect_takes_what_its_service_takes(
    dialect: Dialect, matchers: list[Any], takers: tuple[Dialect, ...]
) -> None:
    if dialect in takers:
        compile({"eventName": matchers}, dialect)
        return
    with pytest.raises(InvalidPattern, match=f"^{dialect.name} pattern, at eventName: expected"):
        compile({"eventName": matchers}, dialect)


def test_s17_a_lambda_filter_sees_a_stream_record() -> None:
    compile({"userIdentity": {"type": ["Service"]}, "dynamodb.Keys": {"PK": {"S": ["x"]}}}, LAMBDA)
    roots = "awsRegion, dynamodb, eventID, eventName, eventSource, eventVersion, userIdentity"
    with pytest.raises(InvalidPattern, match=f"one of the fields {roots}, found 'detail'"):
        compile({"detail": {"x": ["y"]}}, LAMBDA)
    with pytest.raises(InvalidPattern, match="found 'detail'"):
        compile({"$or": [{"eventName": ["INSERT"]}, {"detail": ["x"]}]}, LAMBDA)


def test_s17_a_lambda_filter_has_at_most_4096_characters() -> None:
    with pytest.raises(InvalidPattern, match="at most 4096 characters, found 5"):
        compile('{"eventName": ["' + "x" * 5000 + '"]}', LAMBDA)
    with pytest.raises(InvalidPattern, match="at most 4096 characters, found 5"):
        compile({"eventName": ["x" * 5000]}, LAMBDA)
