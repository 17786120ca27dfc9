"""MangaAssist: what follows from each change of the sessions table. Run it: `afterwrite run apps/manga_assist/app.py`.

Routes say what is to be done; functions and consumers, whose work is in the modules beside this one, do it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afterwrite import INSERT, MODIFY, App, Change, Context, Effect, Message, prefix
from manga_assist import handoffs, keys, lifecycle, records, search, settings, summaries, summarizers
from manga_assist.statuses import ACTIVE, DISCONNECTED, HANDED_OFF

SETTINGS = settings.read()
SUMMARIZERS = summarizers.Summarizers(SETTINGS)

app = App("manga-assist")
sessions = app.table("manga-assist-sessions", partition_key="PK", sort_key="SK", ttl="ttl")
operations = app.table("manga-assist-operations", partition_key="PK", sort_key="SK", ttl="ttl")

analytics = app.delivery_stream(
    "manga-assist-analytics",
    buffer_seconds=SETTINGS.buffer_s,
    buffer_mib=5,
    columns=records.COLUMNS,
    key=("session_id", "sk"),
)
archive = app.delivery_stream("manga-assist-archive", buffer_seconds=SETTINGS.buffer_s, buffer_mib=5)
found = app.search_index("manga-assist-conversations", fields=search.FIELDS, url=SETTINGS.search_url)
audit = app.audit_log("manga-assist-audit", retain_days=365)
bus = app.bus("manga-assist-events", source="mangaassist.sessions", archive_days=30)

dashboard_queue = app.queue("agent-dashboard-queue", max_receives=3, visibility_timeout_s=30)
customer_queue = app.queue("customer-notification-queue", max_receives=3, visibility_timeout_s=30)
escalation_queue = app.queue("escalation-queue", max_receives=3, visibility_timeout_s=30)
agent_queue = app.queue("agent-queue", max_receives=3, visibility_timeout_s=30)

handoff_topic = app.topic("manga-assist-handoffs")
handoff_topic.subscribe(dashboard_queue, filter_policy={"agent_id": [{"exists": True}]})
handoff_topic.subscribe(customer_queue)
handoff_topic.subscribe(escalation_queue, filter_policy={"reason": ["escalated"]})


@app.function(retries=2, timeout_s=60, concurrency=16)
def summarize(request: Mapping[str, Any], context: Context) -> None:
    """Summarize every full window of the session that has no summary yet, unless it has ended."""
    summarizer = SUMMARIZERS.within_budget(context.table(operations), context.now_ms)
    table, session_id = context.table(sessions), request["session_id"]
    summaries.summarize_missing(table, session_id, summarizer, context.now_ms)


@app.function(retries=2, timeout_s=60, concurrency=16)
def count_active_session(event: Mapping[str, Any], context: Context) -> None:
    """Count the session as active when it starts, and no more when it ends."""
    step = -1 if event["detail"]["new_status"] == DISCONNECTED else 1
    lifecycle.count(context, operations, lifecycle.ACTIVE_SESSIONS, event, step)


@app.function(retries=2, timeout_s=60, concurrency=16)
def count_handoff(event: Mapping[str, Any], context: Context) -> None:
    """Count the session as handed off."""
    lifecycle.count(context, operations, lifecycle.HANDOFFS, event, 1)


@app.function(retries=2, timeout_s=60, concurrency=16)
def clean_up(event: Mapping[str, Any], context: Context) -> None:
    """Complete the ended session's summaries, then let its items expire."""
    summarizer = SUMMARIZERS.within_budget(context.table(operations), context.now_ms)
    lifecycle.clean_up(context, sessions, context.table(sessions), event, summarizer)


bus.rule("SessionStarted", lifecycle.pattern(ACTIVE), to=[count_active_session])
bus.rule("SessionHandoff", lifecycle.pattern(HANDED_OFF), to=[agent_queue, count_handoff])
bus.rule("SessionEnded", lifecycle.pattern(DISCONNECTED), to=[clean_up, count_active_session])
bus.rule("AllEvents", {"source": ["mangaassist.sessions"]}, to=[archive])


@dashboard_queue.consumer(concurrency=16)
def update_dashboard(message: Message, context: Context) -> None:
    """Show the hand-off to the agent it is assigned to."""
    handoffs.show_on_dashboard(context.table(operations), handoffs.from_message(message.body))


@customer_queue.consumer(concurrency=16)
def mail_customer(message: Message, context: Context) -> None:
    """Tell the customer that a person takes over."""
    handoffs.write_to_customer(context.directory("outbox"), handoffs.from_message(message.body), SETTINGS)


@escalation_queue.consumer(concurrency=16)
def open_escalation(message: Message, context: Context) -> None:
    """Open an escalation for a supervisor."""
    handoffs.open_escalation(context.table(operations), handoffs.from_message(message.body))


@agent_queue.consumer(concurrency=16)
def offer_to_agents(message: Message, context: Context) -> None:
    """Let the agents who are free know that a session waits."""
    detail = message.body["detail"]
    handoffs.offer_to_agents(context.table(operations), detail["session_id"], int(detail["at_ms"]))


@sessions.on(INSERT, sort_key=prefix(keys.TURN))
def ask_for_summary(change: Change) -> Effect | None:
    """Every tenth turn completes a window; its number is in the key, so nothing needs to be read."""
    if keys.turn_number(change.keys["SK"]) % keys.WINDOW_TURNS:
        return None
    return summarize.later(session_id=keys.session_id_of(change.keys["PK"]))


@sessions.on(INSERT, sort_key=keys.META)
def announce_start(change: Change) -> Effect:
    """A session starts."""
    return bus.put(lifecycle.STATUS_CHANGED, **lifecycle.status_change(change))


@sessions.on(MODIFY, sort_key=keys.META, changed="status")
def announce_status(change: Change) -> Effect:
    """A session is handed off or ends."""
    return bus.put(lifecycle.STATUS_CHANGED, **lifecycle.status_change(change))


@sessions.on(INSERT, sort_key=prefix(keys.HANDOFF))
def notify(change: Change) -> Effect:
    """A session is handed to people."""
    handoff = handoffs.from_change(change)
    return handoff_topic.publish(
        handoff.message(), subject=f"Chat handoff: {handoff.session_id}", attributes=handoff.attributes()
    )


@found.documents(sessions, sort_key=prefix(keys.SUMMARY))
def summary_document(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Conversations are found by the words of their summaries, until they expire."""
    return search.document(item)


@sessions.on()
def keep_records(change: Change) -> list[Effect]:
    """Every change, those of the clean-up and of expiry too, is in analytics and in the audit log."""
    return [analytics.put(records.analytics_row(change)), audit.record(change)]
