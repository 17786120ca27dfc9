"""The stateful comparison: each step puts one request to both systems, and their answers have to agree."""

from __future__ import annotations

import itertools
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis.stateful import RuleBasedStateMachine, rule

from differential import requests
from differential.answers import READ_STREAM, ask
from differential.comparison import FINE, difference, outcome
from differential.requests import Request
from differential.schemas import TABLES
from differential.systems import Answer, Side

_WRITES: Final = ("PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems")
_process = uuid.uuid4().hex[:8]
_runs = itertools.count()


@dataclass
class Pair:
    """Both systems, and what the one that is compared with has answered."""

    ours: Side
    theirs: Side
    answered: list[tuple[str, Mapping[str, Any], Answer]] = field(default_factory=list)

    def compare(self, operation: str, body: Mapping[str, Any]) -> bool:
        """Put a request to both. False where a listed difference leaves them with different items."""
        theirs = ask(self.theirs, operation, body)
        self.answered.append((operation, body, theirs))
        return agree(self.ours, operation, body, theirs)


def agree(ours: Side, operation: str, body: Mapping[str, Any], expected: Answer) -> bool:
    """Compare our answer with theirs. False where a listed difference leaves them with different items."""
    answer = ask(ours, operation, body)
    try:
        found = difference(operation, answer, expected)
    except AssertionError as error:
        shown = {"operation": operation, "body": body, **_first_difference(answer, expected)}
        lines = [f"{name}: {json.dumps(value)}" for name, value in shown.items()]
        raise AssertionError("\n".join([str(error), *lines])) from None
    one_failed = (outcome(answer) == FINE) != (outcome(expected) == FINE)
    return not (found and operation in _WRITES and one_failed)


def _first_difference(ours: Any, theirs: Any, place: str = "") -> Mapping[str, Any]:
    """The smallest part in which two answers differ, and where it is."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted(ours.keys() & theirs.keys()):
            if ours[name] != theirs[name] and "error" not in ours.keys() | theirs.keys():
                return _first_difference(ours[name], theirs[name], f"{place}.{name}")
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, two) in enumerate(zip(ours, theirs, strict=True)):
            if one != two:
                return _first_difference(one, two, f"{place}[{number}]")
    return {"place": place, "ours": ours, "theirs": theirs}


def fresh_tables(side: Side) -> None:
    """Every table anew and empty."""
    for table in TABLES:
        side("DeleteTable", {"TableName": table["TableName"]})
        created = side("CreateTable", table)
        assert "error" not in created, created


class Comparison(RuleBasedStateMachine):
    """One run on fresh tables; at its end tables and streams are compared whole."""

    pair: Pair
    until_s: float

    def __init__(self) -> None:
        super().__init__()
        self.run = f"{_process}-{next(_runs)}"
        self.pair.answered.clear()
        # A slow machine compares less, it does not take longer.
        self.same = time.monotonic() < self.until_s
        if self.same:
            for side in (self.pair.ours, self.pair.theirs):
                fresh_tables(side)

    def _compare(self, request: Request) -> None:
        if not self.same:
            return
        operation, body = request
        if "ClientRequestToken" in body:
            # Tokens outlive the tables; those of another run must not be met.
            body = {**body, "ClientRequestToken": f"{body['ClientRequestToken']}-{self.run}"}
        self.same = False  # what is compared after a difference that is not listed would hide it
        self.same = self.pair.compare(operation, body)

    @rule(request=requests.puts)
    def put(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.updates)
    def update(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.updates)
    def update_again(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.deletes)
    def delete(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.gets)
    def get(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.queries)
    def query(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.queries)
    def query_again(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.scans)
    def scan(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.batch_writes)
    def batch_write(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.batch_gets)
    def batch_get(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.transact_writes)
    def transact_write(self, request: Request) -> None:
        self._compare(request)

    @rule(request=requests.transact_gets)
    def transact_get(self, request: Request) -> None:
        self._compare(request)

    def teardown(self) -> None:
        for table in TABLES:
            for operation in ("Scan", READ_STREAM):
                if self.same:
                    self.pair.compare(operation, {"TableName": table["TableName"]})
