"""Who summarizes is a matter of settings; what it costs is kept in a table, so that a redelivery costs nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from afterwrite import Change, DeclarationError
from afterwrite.summaries import ExtractiveSummarizer
from manga_assist import app, records, settings
from manga_assist.sessions import Sessions
from manga_assist.summaries import summarize_missing
from manga_assist.summarizers import Summarizers
from model_endpoint import Endpoint, Scripted, completion, model_endpoint

# Far enough ahead that no item of it expires during a test.
NOW_MS = 4_102_488_000_000
SAID = "The customer asks about the sentences of the session, and the assistant answers with sentences."


@pytest.fixture
def session(dynamodb_client: Any) -> str:
    sessions = Sessions(dynamodb_client, app.sessions.name)
    sessions.start("s1", "c1", NOW_MS)
    for n in range(10):
        who = "customer" if n % 2 == 0 else "assistant"
        sessions.add_turn("s1", who, f"The {who} says a sentence about answers and sentences of the session", NOW_MS)
    return "s1"


def chosen(endpoint: Endpoint, **more: str) -> Summarizers:
    given = {
        "MANGA_ASSIST_SUMMARIZER": "openai",
        "MANGA_ASSIST_SUMMARY_MODEL": "small",
        "MANGA_ASSIST_SUMMARY_URL": f"{endpoint.url}/v1",
    }
    return Summarizers(settings.read({**given, **more}))


def summarize(made_by: Summarizers, session: str, sessions_table: Any, operations_table: Any) -> dict[str, Any]:
    summarizer = made_by.within_budget(operations_table, NOW_MS)
    assert summarize_missing(sessions_table, session, summarizer, NOW_MS) == [1]
    item: dict[str, Any] = sessions_table.get({"PK": "SESSION#s1", "SK": "SUMMARY#000001"})
    return item


def test_a_model_s_summary_tells_its_model_and_what_it_cost(
    session: str, sessions_table: Any, operations_table: Any
) -> None:
    with model_endpoint(completion(SAID)) as endpoint:
        item = summarize(chosen(endpoint), session, sessions_table, operations_table)
    assert (item["summary_text"], item["method"], item["model"]) == (SAID, "model", "small")
    assert (item["input_tokens"], item["output_tokens"]) == (120, 30)
    assert "fallback" not in item
    spent = [item for item in operations_table.scan() if item["SK"] == "SPENT"]
    assert [int(item["tokens"]) for item in spent] == [150]


def test_a_window_whose_summary_was_lost_is_written_again_without_a_second_bill(
    session: str, sessions_table: Any, operations_table: Any
) -> None:
    with model_endpoint(completion(SAID)) as endpoint:
        made_by = chosen(endpoint)
        first = summarize(made_by, session, sessions_table, operations_table)
        # As where the process died between the model's answer and the summary.
        sessions_table.delete({"PK": "SESSION#s1", "SK": "SUMMARY#000001"})
        assert summarize(chosen(endpoint), session, sessions_table, operations_table) == first
        assert len(endpoint.requests) == 1


def test_a_fallback_is_on_the_item_with_its_reason(session: str, sessions_table: Any, operations_table: Any) -> None:
    with model_endpoint(Scripted({}, 401)) as endpoint:
        item = summarize(chosen(endpoint), session, sessions_table, operations_table)
    assert item["summary_text"].startswith("Extractive summary of turns 1 to 10")
    assert (item["method"], item["fallback"]) == ("extractive", "failed: permission, HTTP 401")


def test_the_budget_is_one_for_all_processes(session: str, sessions_table: Any, operations_table: Any) -> None:
    with model_endpoint(completion(SAID)) as endpoint:
        item = summarize(
            chosen(endpoint, MANGA_ASSIST_SUMMARY_TOKENS_A_DAY="100"), session, sessions_table, operations_table
        )
        assert endpoint.requests == []
    assert item["fallback"].startswith("budget:")


def test_analytics_count_fallbacks_by_reason_and_tokens() -> None:
    keys = {"PK": {"S": "SESSION#s1"}, "SK": {"S": "SUMMARY#000001"}}
    image = {
        **keys,
        "method": {"S": "extractive"},
        "model": {"S": "small"},
        "fallback": {"S": "number: expected numbers of the conversation only"},
        "input_tokens": {"N": "120"},
        "output_tokens": {"N": "30"},
    }
    change = Change(
        id="id1",
        table=app.sessions.name,
        event_name="INSERT",
        keys=keys,
        old_image=None,
        new_image=image,
        sequence_number="1",
        created_at_us=NOW_MS * 1000,
        size_bytes=321,
        user_identity=None,
    )
    row = records.analytics_row(change)
    assert (row["summary_method"], row["summary_model"]) == ("extractive", "small")
    assert (row["summary_fallback"], row["summary_tokens"]) == ("number", 150)
    assert set(row) <= set(records.COLUMNS)


def test_without_settings_nothing_is_needed() -> None:
    chosen = settings.read({})
    assert chosen.summary == settings.SummarySettings()
    assert isinstance(Summarizers(chosen).within_budget(None, NOW_MS), ExtractiveSummarizer)


def test_settings_are_read_and_secrets_not_shown() -> None:
    read = settings.read(
        {
            "MANGA_ASSIST_SUMMARIZER": "bedrock",
            "MANGA_ASSIST_SUMMARY_MODEL": "anthropic.claude-3-haiku-20240307-v1:0",
            "MANGA_ASSIST_SUMMARY_API_KEY": "secret",
            "MANGA_ASSIST_SUMMARY_MONEY_A_DAY": "2.50",
            "MANGA_ASSIST_SUMMARY_PRICE": "0.25/1.25",
        }
    )
    assert (read.summary.money_a_day, read.summary.price) == (Decimal("2.50"), (Decimal("0.25"), Decimal("1.25")))
    assert "secret" not in repr(read)
    Summarizers(read)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"MANGA_ASSIST_SUMMARIZER": "gpt"}, "one of extractive, bedrock, openai"),
        ({"MANGA_ASSIST_SUMMARIZER": "bedrock"}, "MANGA_ASSIST_SUMMARY_MODEL"),
        ({"MANGA_ASSIST_SUMMARIZER": "openai", "MANGA_ASSIST_SUMMARY_MODEL": "m"}, "MANGA_ASSIST_SUMMARY_URL"),
        ({"MANGA_ASSIST_SUMMARY_PRICE": "cheap"}, "INPUT/OUTPUT"),
        ({"MANGA_ASSIST_SUMMARY_TOKENS_A_DAY": "many"}, "expected numbers"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(given: dict[str, str], words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        settings.read(given)
