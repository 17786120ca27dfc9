"""Reads every store back: tables, the log and the journal with `open_data`, and some states by asking the app."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any, Final

from accounts import app
from accounts.reconcile import Found, LoggedChange
from afterwrite import Change
from demonstration.certain_writes import local_session

ASKED: Final = 200


def read(data: Any, answers: Sequence[tuple[str, int, Any]]) -> Found:
    """What the stores of `data`, a view made by `open_data`, hold; with what the app has answered."""
    return Found(
        changes=[logged_change(change) for change in data.changes(app.accounts.name)],
        accounts={item["accountId"]: item for item in data.items(app.accounts.name)},
        journal=[
            {**event["detail"], "eventType": event["detail-type"]} for event in data.archived_events(app.journal.name)
        ],
        events=list(data.items(app.event_store.name)),
        snapshots=list(data.items(app.snapshots.name)),
        answers=answers,
        waiting={name: sum(depth) for name, depth in data.depths().items()},
    )


def logged_change(change: Change) -> LoggedChange:
    """The change with what the equations need."""
    return LoggedChange(
        change_id=change.id,
        sequence_number=int(change.sequence_number or 0),
        account_id=change.keys["accountId"],
        at_ms=change.created_at_ms,
        before=change.old,
        after=change.new,
    )


def ask(endpoint_url: str, data: Any) -> list[tuple[str, int, Any]]:
    """Accounts, moments and what the running app says of the account then, for moments of changes at random."""
    changes = [(change.keys["accountId"], change.created_at_ms) for change in data.changes(app.accounts.name)]
    client = local_session().client("lambda", endpoint_url=endpoint_url)
    answers = []
    for account_id, at_ms in random.sample(changes, min(ASKED, len(changes))):
        request = json.dumps({"accountId": account_id, "atMs": at_ms})
        answer = client.invoke(FunctionName="state_at", Payload=request)["Payload"].read()
        answers.append((account_id, at_ms, json.loads(answer)))
    client.close()
    return answers
