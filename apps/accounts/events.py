"""What happens to an account, and how its state follows from that. Pure.

An account's events are numbered by its `version`, which its item carries and each movement raises by one: the first
event is version 1, and a number that is missing shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from afterwrite import Change

CREATED: Final = "ACCOUNT_CREATED"
BALANCE_CHANGED: Final = "BALANCE_CHANGED"
CLOSED: Final = "ACCOUNT_CLOSED"


class BrokenHistory(Exception):
    """An event does not follow on from the state before it."""


def created(change: Change) -> dict[str, Any]:
    """The account was opened with its first balance."""
    item = change.new or {}
    return {**_identity(change, int(item["version"])), "initialBalanceCents": int(item["balanceCents"])}


def balance_changed(change: Change) -> dict[str, Any]:
    """Money came or went."""
    before, after = change.old or {}, change.new or {}
    return {
        **_identity(change, int(after["version"])),
        "oldBalanceCents": int(before["balanceCents"]),
        "newBalanceCents": int(after["balanceCents"]),
        "differenceCents": int(after["balanceCents"] - before["balanceCents"]),
    }


def closed(change: Change) -> dict[str, Any]:
    """The account was closed: one event more than its item had."""
    item = change.old or {}
    return {**_identity(change, int(item["version"]) + 1), "finalBalanceCents": int(item["balanceCents"])}


def _identity(change: Change, version: int) -> dict[str, Any]:
    return {
        "accountId": change.keys["accountId"],
        "version": version,
        "changeId": change.id,
        "atMs": change.created_at_ms,
    }


@dataclass(frozen=True, slots=True)
class State:
    """An account after the event `version`, which happened at `at_ms`. A closed one keeps its last balance."""

    account_id: str
    version: int
    balance_cents: int
    is_open: bool
    at_ms: int

    def to_item(self) -> dict[str, Any]:
        """The state as a snapshot's item, and as an answer."""
        return {
            "accountId": self.account_id,
            "version": self.version,
            "balanceCents": self.balance_cents,
            "isOpen": self.is_open,
            "atMs": self.at_ms,
        }

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> State:
        """The state that a snapshot holds."""
        return cls(
            item["accountId"], int(item["version"]), int(item["balanceCents"]), item["isOpen"], int(item["atMs"])
        )


def after(state: State | None, event: Mapping[str, Any]) -> State:
    """The state after an event of the event store. Raises BrokenHistory where it does not follow on."""
    before_cents: int | None
    match event["eventType"]:
        case "ACCOUNT_CREATED":
            before_cents, left_cents = None, event["initialBalanceCents"]
        case "BALANCE_CHANGED":
            before_cents, left_cents = event["oldBalanceCents"], event["newBalanceCents"]
        case _:
            before_cents = left_cents = event["finalBalanceCents"]
    expected = (1, None, True) if state is None else (state.version + 1, state.balance_cents, state.is_open)
    if expected != (event["version"], before_cents, True):
        raise BrokenHistory(
            f"expected event {expected[0]} of account {event['accountId']} to follow on from {state}, "
            f"got {dict(event)}: bring back what is missing, by a replay of the journal"
        )
    closed = event["eventType"] == CLOSED
    return State(event["accountId"], expected[0], int(left_cents), not closed, int(event["atMs"]))


def rebuild(events: Iterable[Mapping[str, Any]], state: State | None = None) -> State | None:
    """The state after all of the events, which follow on from `state`. Raises BrokenHistory."""
    for event in events:
        state = after(state, event)
    return state
