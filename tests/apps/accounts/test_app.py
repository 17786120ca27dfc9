"""What is said of each change of an account: a transcript."""

from __future__ import annotations

from accounts.app import accounts, app, journal
from afterwrite import Effect
from afterwrite.testing import Playbook, delete, nothing, put


def said(kind: str, write: int, version: int, **cents: int) -> Effect:
    """The event of the transcript's write of this number."""
    detail = {
        "accountId": "A-1",
        "version": version,
        "changeId": f"{write:032x}",
        "atMs": 1_700_000_000_000 + write * 1000,
    }
    return journal.put(kind, **detail, **cents)


def test_each_change_of_a_balance_is_an_event_and_nothing_else_is() -> None:
    assert (
        Playbook(app)
        >> put(accounts, accountId="A-1", owner="Ann", balanceCents=500, version=1)
        << said("ACCOUNT_CREATED", 0, 1, initialBalanceCents=500)
        >> put(accounts, accountId="A-1", owner="Ann", balanceCents=120, version=2)
        << said("BALANCE_CHANGED", 1, 2, oldBalanceCents=500, newBalanceCents=120, differenceCents=-380)
        >> put(accounts, accountId="A-1", owner="Bob", balanceCents=120, version=2)
        << nothing
        >> put(accounts, accountId="A-1", owner="Bob", balanceCents=121, version=3)
        << said("BALANCE_CHANGED", 3, 3, oldBalanceCents=120, newBalanceCents=121, differenceCents=1)
        >> delete(accounts, accountId="A-1")
        << said("ACCOUNT_CLOSED", 4, 4, finalBalanceCents=121)
    )
