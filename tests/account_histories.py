"""Made histories: events as they are in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

Event: TypeAlias = tuple[str, dict[str, Any]]


def history(balances: Sequence[int], *, closed: bool = False, account_id: str = "A-1") -> list[Event]:
    """An account's events, type and detail: it has these balances one after the other, a second apart."""
    events: list[Event] = []
    for version, balance in enumerate(balances, start=1):
        cents: dict[str, int] = {"initialBalanceCents": balance}
        if version > 1:
            old = balances[version - 2]
            cents = {"oldBalanceCents": old, "newBalanceCents": balance, "differenceCents": balance - old}
        events.append(("ACCOUNT_CREATED" if version == 1 else "BALANCE_CHANGED", detail(account_id, version, **cents)))
    if closed:
        last = detail(account_id, len(balances) + 1, finalBalanceCents=balances[-1])
        events.append(("ACCOUNT_CLOSED", last))
    return events


def detail(account_id: str, version: int, **cents: int) -> dict[str, Any]:
    """An event's detail."""
    return {"accountId": account_id, "version": version, "changeId": f"c{version}", "atMs": version * 1000, **cents}


def stored(balances: Sequence[int], *, closed: bool = False) -> list[dict[str, Any]]:
    """The same as they are in the event store."""
    return [{**each, "eventType": kind} for kind, each in history(balances, closed=closed)]
