"""Accounts: each change of the accounts table is an event for good. Run it: `afterwrite run apps/accounts/app.py`.

Routes say what happened; the bus's archive is the journal, and the event store has it account by account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accounts import events
from accounts.event_store import EventStore
from afterwrite import INSERT, MODIFY, REMOVE, App, Change, Context, Effect, Key

app = App("accounts")
accounts = app.table("accounts", partition_key="accountId")
event_store = app.table("accounts-event-store", partition_key="accountId", sort_key=Key("version", "N"))
snapshots = app.table("accounts-snapshots", partition_key="accountId", sort_key=Key("version", "N"))
journal = app.bus("accounts-journal", archive_days=3650)


@accounts.on(INSERT)
def account_created(change: Change) -> Effect:
    """An account is opened with its first balance."""
    return journal.put(events.CREATED, **events.created(change))


@accounts.on(MODIFY, changed="balanceCents")
def balance_changed(change: Change) -> Effect:
    """Money comes or goes. What else changes of an account is no event."""
    return journal.put(events.BALANCE_CHANGED, **events.balance_changed(change))


@accounts.on(REMOVE)
def account_closed(change: Change) -> Effect:
    """An account ends with what was left in it."""
    return journal.put(events.CLOSED, **events.closed(change))


# An account whose event cannot be appended keeps its later ones waiting: the store never holds a wrong history.
@app.function(retries=20, timeout_s=60, concurrency=32, exhausted="park")
def append_event(event: Mapping[str, Any], context: Context) -> None:
    """Append the event to its account's history, under its number there."""
    EventStore(context.table(event_store), context.table(snapshots)).append(event["detail-type"], event["detail"])


@app.function(timeout_s=60, concurrency=4)
def state_at(request: Mapping[str, Any], context: Context) -> dict[str, Any] | None:
    """The account `accountId` as it was after its event `version`, or at the time `atMs`, or as it is."""
    history = EventStore(context.table(event_store), context.table(snapshots))
    state = history.state(request["accountId"], version=request.get("version"), at_ms=request.get("atMs"))
    return None if state is None else state.to_item()


journal.rule("EveryEvent", {"source": ["accounts"]}, to=[append_event])
