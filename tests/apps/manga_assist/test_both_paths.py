"""MangaAssist by DynamoDB Streams and by Kinesis, whose records come twice and in disorder: the same end state."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

from afterwrite.app import StreamKind
from both_paths import running, settle
from demonstration.certain_writes import dynamodb_client
from demonstration.writers import counter
from manga_assist import app, conversations, load, readback
from manga_assist.reconcile import Found, reconcile
from manga_assist.sessions import Sessions

# Of the load's fates: expires; handed to nobody and then escalated to an agent.
FATES = (3, 8)
NUMBER = re.compile(r"\d{10,}")


def chat(data: Path, stream: StreamKind) -> Found:
    """Conversations, and what the stores hold when all is done; every equation of the demonstration holds."""
    with running(app.app, app.sessions, data, stream) as (engine, disorder):
        host, port = engine.address
        with closing(dynamodb_client(f"http://{host}:{port}", threads=1)) as client:
            sessions = Sessions(client, app.sessions.name, retention_s=load.RETENTION_S)
            shortest = sorted(conversations.load(load.MINIMUM_TURNS, 200), key=lambda each: len(each.turns))
            count = counter()
            written = [
                load.write_conversation(sessions, each, load.plan(fate, len(each.turns)), count)
                for fate, each in zip(FATES, shortest, strict=False)
            ]
        expired = {each.session_id for each in written if each.expires}
        view = engine.reader()

        def are_gone() -> bool:
            left = {readback.stored_item(item).session_id for item in view.items(app.sessions.name)}
            return not left & expired

        settle(engine, disorder, are_gone)
        found = readback.read(view, data / "files" / "outbox")
    for each in disorder:
        assert each.carried == len(found.changes)
        assert min(each.repeated, each.moved) > 20
    assert [check for check in reconcile(written, found) if not check.ok] == []
    return found


def end_state(found: Found) -> dict[str, Any]:
    """What is the same however the changes came: everything but ids and times."""
    return {
        "items": Counter((item.session_id, NUMBER.sub("#", item.sort_key)) for item in found.items),
        "changes": Counter((c.session_id, NUMBER.sub("#", c.sort_key), c.event_name) for c in found.changes),
        "analytics": Counter(row[1:] for row in found.analytics),
        "audited": len(found.audited),
        "effects": {queue: len(done) for queue, done in found.completions.items()},
        "dashboard": Counter(agent for agent, _ in found.dashboard),
        "waiting": (len(found.mails), len(found.escalations), len(found.offered)),
        "events": Counter((e.session_id, e.old_status, e.new_status) for e in found.archived),
        "event rows": Counter((e.session_id, e.old_status, e.new_status) for e in found.event_rows),
        "counters": found.counters,
        "dead letters": sum(found.dead_letters.values()),
    }


def test_the_end_state_is_the_same_by_both_streams(tmp_path: Path) -> None:
    # S26: records may come twice and out of order.
    by_streams = end_state(chat(tmp_path / "by-streams", "dynamodb"))
    by_kinesis = end_state(chat(tmp_path / "by-kinesis", "kinesis"))
    assert by_kinesis == by_streams
    assert by_streams["items"] and by_streams["events"]
