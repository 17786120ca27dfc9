"""Event patterns: how many parsed stream records a second one thread asks which of 10 and of 1,000 rules match.

Every system gets the same rules and the same records, and must find the same matches.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bench.processes import Unavailable
from bench.report import Figure

from afterwrite.core.changes import EVENT_NAMES, Change
from afterwrite.core.values import encode_item
from afterwrite.core.wire import to_streams_record
from afterwrite.patterns import PatternSet

NAME = "afterwrite"
ROUNDS = 3
RULES = (10, 1_000)
RECORDS = 1_000
# Of which the peers are asked too: at 1,000 rules they take long.
CHECKED_RECORDS = 20
# The peers' slowest cell answers a few dozen records a second.
SECONDS_MAX = 2.0

Matcher = Callable[[Mapping[str, Any]], frozenset[str]]
"""The names of the rules that an event matches."""

_STATUSES = ("open", "active", "handoff", "closed")
_ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/sessions/stream/2026-01-01T00:00:00.000"


def measure(seconds: float) -> Figure:
    """Alternating rounds over the matchers that can be had here."""
    parsed = [json.loads(json.dumps(record)) for record in itertools.islice(records(), RECORDS)]
    size = sum(len(json.dumps(record, separators=(",", ":"))) for record in parsed) // RECORDS
    figure = Figure(f"events/s through rules, one thread, stream records of {size:,} bytes as parsed")
    makers: dict[str, Callable[[Mapping[str, Any]], Matcher]] = {
        NAME: _ours,
        "ministack": _ministack,
        "moto": _moto,
    }
    systems: dict[str, dict[int, Matcher]] = {}
    for name, make in makers.items():
        try:
            systems[name] = {count: make(rules(count)) for count in RULES}
        except Unavailable as reason:
            figure.leave_out(name, str(reason))
    for count in RULES:
        _check(figure, {name: matchers[count] for name, matchers in systems.items()}, parsed[:CHECKED_RECORDS])
    for _ in range(ROUNDS):
        for name, matchers in systems.items():
            rates = {count: _per_second(matchers[count], parsed, min(seconds, SECONDS_MAX)) for count in RULES}
            figure.add(name, {f"{count:,} rules": rate for count, rate in rates.items()})
    return figure


def records() -> Iterator[Mapping[str, Any]]:
    """Changes of chat sessions as Lambda receives them, each item about 700 bytes in either image."""
    for number in itertools.count():
        session, turn = number % 500, number // 500
        keys = {"PK": f"SESSION#{session:04}", "SK": f"TURN#{turn:06}"}
        event_name = EVENT_NAMES[number % 3]
        old = {**keys, **_attributes(number, _STATUSES[number % 4])}
        new = {**keys, **_attributes(number + 1, _STATUSES[(number + 1) % 4])}
        change = Change(
            id=f"{number:032x}",
            table="sessions",
            event_name=event_name,
            keys=encode_item(keys),
            new_image=None if event_name == "REMOVE" else encode_item(new),
            old_image=None if event_name == "INSERT" else encode_item(old),
            sequence_number=str(10**24 + number),
            size_bytes=1_400,
        )
        yield to_streams_record(change, region="us-east-1", stream_arn=_ARN)


def _attributes(number: int, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "role": ("user", "assistant")[number % 2],
        "content": "Which volume comes after the one that I have, and is it in stock? " * 10,
        "customer": {"id": f"c-{number % 97}", "tier": ("basic", "gold")[number % 7 == 0], "language": "en"},
        "turn_count": number % 40,
        "labels": ["manga", f"genre-{number % 11}"],
        "updated_at": f"2026-01-01T00:{number % 60:02}:00Z",
        "version": number,
    }


def rules(count: int) -> dict[str, Mapping[str, Any]]:
    """As many rules as routes, pipes and subscriptions of an app with many sessions and customers have."""
    kinds: Sequence[Callable[[int], Mapping[str, Any]]] = (
        lambda n: {"eventName": ["INSERT"], "dynamodb": {"Keys": {"PK": {"S": [f"SESSION#{n:04}"]}}}},
        lambda n: {
            "eventName": ["MODIFY"],
            "dynamodb": {
                "Keys": {"PK": {"S": [{"prefix": f"SESSION#{n:04}"}]}},
                "NewImage": {"status": {"S": ["handoff", "closed"]}},
            },
        },
        lambda n: {
            "eventName": ["INSERT", "MODIFY"],
            "dynamodb": {"NewImage": {"customer": {"M": {"id": {"S": [f"c-{n}"]}, "tier": {"S": ["gold"]}}}}},
        },
        lambda n: {
            "dynamodb": {
                "NewImage": {"version": {"N": [str(n)]}, "role": {"S": [{"anything-but": "system"}]}},
            },
        },
        lambda n: {
            "eventName": ["REMOVE"],
            "dynamodb": {"OldImage": {"PK": {"S": [f"SESSION#{n:04}"]}, "status": {"S": [{"exists": True}]}}},
        },
    )
    return {f"rule-{number}": kinds[number % len(kinds)](number // len(kinds)) for number in range(count)}


def _ours(patterns: Mapping[str, Any]) -> Matcher:
    together = PatternSet()
    for name, pattern in patterns.items():
        together.add(name, pattern)
    return together.match


def _ministack(patterns: Mapping[str, Any]) -> Matcher:
    """Its bus's matcher, which keeps compiled patterns by their text."""
    if importlib.util.find_spec("ministack") is None:
        raise Unavailable("the Python package ministack is not installed (dependency group dev)")
    from ministack.services import eventbridge

    texts = {name: json.dumps(pattern) for name, pattern in patterns.items()}

    def match(event: Mapping[str, Any]) -> frozenset[str]:
        view = eventbridge._EventView(event, None)
        return frozenset([name for name, text in texts.items() if eventbridge._matches_pattern_view(text, view)])

    return match


def _moto(patterns: Mapping[str, Any]) -> Matcher:
    if importlib.util.find_spec("moto") is None:
        raise Unavailable("the Python package moto is not installed (dependency group dev)")
    from moto.events.models import EventPattern

    loaded = {name: EventPattern.load(json.dumps(pattern)) for name, pattern in patterns.items()}

    def match(event: Mapping[str, Any]) -> frozenset[str]:
        asked: Any = event
        return frozenset([name for name, pattern in loaded.items() if pattern.matches_event(asked)])

    return match


def _check(figure: Figure, matchers: Mapping[str, Matcher], events: Sequence[Mapping[str, Any]]) -> None:
    expected = [matchers[NAME](event) for event in events]
    if not any(expected):
        figure.fault("no rule matches any of the records")
    for name, match in matchers.items():
        if [match(event) for event in events] != expected:
            figure.fault(f"{name} finds other matches than {NAME}")


def _per_second(match: Matcher, events: Sequence[Mapping[str, Any]], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    deadline = began + seconds
    while True:
        for event in events:
            match(event)
            done += 1
            # Asking the time costs next to nothing beside a slow matcher, and a fast one is done with all at once.
            if done % 10 == 0 and time.perf_counter() >= deadline:
                return done / (time.perf_counter() - began)
