"""Compares what the writers wrote with what the stores hold. Pure: values in, checks out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

from accounts.bank import Movement
from accounts.event_store import SNAPSHOT_EVERY
from accounts.events import BrokenHistory, State, after
from demonstration.checks import Check, logged_once, none, same

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """What was done to the accounts table, by the writers' own account."""

    movements: Sequence[Movement]
    renamed: Mapping[str, str]
    """The owners of the accounts that were renamed."""
    closed: Sequence[str]


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of the accounts table's log, with the item before and after it."""

    change_id: str
    sequence_number: int
    account_id: str
    at_ms: int
    before: Item | None
    after: Item | None

    @property
    def event(self) -> tuple[Any, ...] | None:
        """The event that has to follow from the change, None from one that leaves the balance as it is."""
        identity = (self.change_id, self.account_id, self.at_ms)
        if self.before is None and self.after is not None:
            return ("ACCOUNT_CREATED", *identity, self.after["version"], None, self.after["balanceCents"], None)
        if self.after is None and self.before is not None:
            return ("ACCOUNT_CLOSED", *identity, self.before["version"] + 1, self.before["balanceCents"], None, None)
        old, new = (item["balanceCents"] for item in (self.before, self.after) if item is not None)
        if old == new or self.after is None:
            return None
        return ("BALANCE_CHANGED", *identity, self.after["version"], old, new, new - old)

    @property
    def movement(self) -> tuple[Any, ...] | None:
        """The movement that made the change: id, kind, account, cents, day."""
        if self.after is None or (self.before is not None and self.before["movement"] == self.after["movement"]):
            return None
        made = self.after["movement"]
        return (made["id"], made["kind"], self.account_id, made["cents"], made["day"])


@dataclass(frozen=True, slots=True)
class Found:
    """What was read back from every store."""

    changes: Sequence[LoggedChange]
    accounts: Mapping[str, Item]
    journal: Sequence[Item]
    """The events in the bus's archive."""
    events: Sequence[Item]
    """The events in the event store."""
    snapshots: Sequence[Item]
    answers: Sequence[tuple[str, int, Any]]
    """Account, moment, and what the app has said of the account then."""
    waiting: Mapping[str, int]
    """Messages still waiting or in flight, by queue; dead letters are in queues of their own."""


def reconcile(written: Written, found: Found) -> list[Check]:
    """Every equation that must hold when all is done."""
    history, broken = _histories(found.events)
    journal = [_as_tuple(event) for event in found.journal]
    return [
        *_log(written, found),
        same("changes of a balance = events in the journal", _expected_events(found), journal),
        same("events in the journal = events in the event store", journal, map(_as_tuple, found.events)),
        Check("each account's events follow on from one another", 0, len(broken), not broken, "; ".join(broken[:1])),
        *_states(found, history),
        *_money(written, found),
        none("messages and dead letters left over", found.waiting),
    ]


def _log(written: Written, found: Found) -> list[Check]:
    logged = [change.movement for change in found.changes]
    kinds = (("opening", "accounts opened"), ("deposit", "deposits"), ("spending", "orders paid"))
    return [
        *(
            same(
                f"{name} = their changes in the log",
                ((m.id, m.kind, m.account_id, m.cents, m.day) for m in written.movements if m.kind == kind),
                (each for each in logged if each is not None and each[1] == kind),
            )
            for kind, name in kinds
        ),
        same(
            "accounts closed = REMOVE changes in the log",
            written.closed,
            (change.account_id for change in found.changes if change.after is None),
        ),
        same(
            "accounts renamed = their owners in the table",
            written.renamed.items(),
            ((account, found.accounts[account]["owner"]) for account in written.renamed),
        ),
        logged_once([(change.change_id, change.sequence_number) for change in found.changes]),
    ]


def _states(found: Found, history: Mapping[tuple[str, int], State]) -> list[Check]:
    latest = {account: state for (account, _), state in sorted(history.items())}
    known: dict[str, list[tuple[int, Any]]] = {}
    for change in found.changes:
        left = None if change.after is None else change.after["balanceCents"]
        known.setdefault(change.account_id, []).append((change.at_ms, left))
    return [
        same(
            "the account after each of its events = the item after that change",
            (
                (*key, None if change.after is None else change.after["balanceCents"])
                for change in found.changes
                if (key := _key(change)) is not None
            ),
            ((*key, state.balance_cents if state.is_open else None) for key, state in history.items()),
        ),
        same(
            "accounts rebuilt from their events = the table",
            ((item["accountId"], item["version"], item["balanceCents"]) for item in found.accounts.values()),
            ((s.account_id, s.version, s.balance_cents) for s in latest.values() if s.is_open),
        ),
        same(
            f"a snapshot after every {SNAPSHOT_EVERY} events = the account then",
            (state for (_, version), state in history.items() if version % SNAPSHOT_EVERY == 0),
            map(State.from_item, found.snapshots),
        ),
        same(
            "asked for accounts at moments of the past: the log's answer = the app's",
            (
                (account, at_ms, [left for moment, left in known[account] if moment <= at_ms][-1])
                for account, at_ms, _ in found.answers
            ),
            ((account, at_ms, _told(answer)) for account, at_ms, answer in found.answers),
        ),
    ]


def _money(written: Written, found: Found) -> list[Check]:
    signs = {"opening": 1, "deposit": 1, "spending": -1}
    moved = sum(signs[movement.kind] * movement.cents for movement in written.movements)
    paid_out = sum(int(event["finalBalanceCents"]) for event in found.events if "finalBalanceCents" in event)
    held = sum(int(item["balanceCents"]) for item in found.accounts.values())
    below = sum(change.after is not None and change.after["balanceCents"] < 0 for change in found.changes)
    return [
        Check(
            "cents paid in - spent = in the accounts + paid out at their ends",
            moved,
            held + paid_out,
            moved == held + paid_out,
        ),
        Check("changes that left less than nothing in an account", 0, below, below == 0),
    ]


def _told(answer: Mapping[str, Any] | None) -> int | None:
    """The balance that the app has told of; none of an account that is closed or that it does not know."""
    return int(answer["balanceCents"]) if answer is not None and answer["isOpen"] else None


def _histories(events: Sequence[Item]) -> tuple[dict[tuple[str, int], State], list[str]]:
    """Each account after each of its events; and what does not follow on."""
    states: dict[tuple[str, int], State] = {}
    broken: list[str] = []
    ordered = sorted(events, key=lambda event: (event["accountId"], event["version"]))
    for account, own in groupby(ordered, key=itemgetter("accountId")):
        state: State | None = None
        try:
            for event in own:
                state = after(state, event)
                states[account, state.version] = state
        except BrokenHistory as error:
            broken.append(str(error))
    return states, broken


def _key(change: LoggedChange) -> tuple[str, int] | None:
    return None if change.event is None else (change.account_id, int(change.event[4]))


def _expected_events(found: Found) -> Iterator[tuple[Any, ...]]:
    return (change.event for change in found.changes if change.event is not None)


def _as_tuple(event: Item) -> tuple[Any, ...]:
    return (
        event["eventType"],
        event["changeId"],
        event["accountId"],
        event["atMs"],
        event["version"],
        event.get("oldBalanceCents", event.get("finalBalanceCents")),
        event.get("newBalanceCents", event.get("initialBalanceCents")),
        event.get("differenceCents"),
    )
