"""The event store: each account's events under their numbers, and a snapshot of its state after every tenth."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final, Protocol

from accounts.events import BrokenHistory, State, rebuild
from afterwrite import ConditionalCheckFailed, Rejected, between

SNAPSHOT_EVERY: Final = 10
_VERSION_MAX: Final = 10**15


class Table(Protocol):
    """What the store needs of a table's client."""

    def query(
        self, partition: Any, sort_key: Any = None, *, newest_first: bool = False, limit: int | None = None
    ) -> list[dict[str, Any]]:
        """The items of a partition."""

    def put(self, item: Mapping[str, Any], *, condition: str | None = None, values: Any = None) -> Any:
        """Write the item. Raises ConditionalCheckFailed."""


class EventStore:
    """Events and snapshots in two tables, both with the keys accountId and version. Events are never overwritten."""

    def __init__(self, events: Table, snapshots: Table) -> None:
        self._events = events
        self._snapshots = snapshots

    def append(self, event_type: str, detail: Mapping[str, Any]) -> None:
        """Append an event; one that is there already changes nothing.

        Raises Rejected where another event has its number: a write to the table that has not raised the version.
        """
        event = {**detail, "eventType": event_type}
        try:
            self._events.put(
                event,
                condition="attribute_not_exists(accountId) OR changeId = :change",
                values={"change": event["changeId"]},
            )
        except ConditionalCheckFailed as error:
            raise Rejected(
                f"expected event {event['version']} of account {event['accountId']} to be a new one, got {dict(event)} "
                "beside another of this number: every change of a balance has to raise the account's version by one, "
                "and an account's id is never used again"
            ) from error
        if event["version"] % SNAPSHOT_EVERY == 0:
            self._take_snapshot(event["accountId"], event["version"])

    def history(self, account_id: str, first: int = 1, last: int = _VERSION_MAX) -> list[dict[str, Any]]:
        """The account's events by their numbers, from `first` to `last`."""
        return self._events.query(account_id, between(first, last)) if first <= last else []

    def state(self, account_id: str, *, version: int | None = None, at_ms: int | None = None) -> State | None:
        """The account after the event `version`, and not later than `at_ms`; None where there was no such account yet.

        Without either it is the account as far as its events have arrived. Raises BrokenHistory.
        """
        last = _VERSION_MAX if version is None else version
        if last < 1:
            return None
        kept = map(State.from_item, self._snapshots.query(account_id, between(1, last), newest_first=True))
        snapshot = next((state for state in kept if at_ms is None or state.at_ms <= at_ms), None)
        later = self.history(account_id, 1 if snapshot is None else snapshot.version + 1, last)
        return rebuild(takewhile(lambda event: at_ms is None or event["atMs"] <= at_ms, later), snapshot)

    def _take_snapshot(self, account_id: str, version: int) -> None:
        try:
            state = self.state(account_id, version=version)
        except BrokenHistory:
            return  # an event before it is still on its way; the next snapshot covers both
        if state is not None:
            self._snapshots.put(state.to_item())
