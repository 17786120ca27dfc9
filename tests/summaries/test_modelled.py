"""A model's answer, over HTTP, is the summary only where it is one; else what was said is quoted, with the reason."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from afterwrite.errors import Throttled, Unavailable
from afterwrite.summaries import (
    Budget,
    ExtractiveSummarizer,
    Made,
    MemorySpending,
    ModelSummarizer,
    Summary,
    Turn,
    openai,
)
from afterwrite.summaries.spending import Cost
from model_endpoint import Endpoint, Scripted, completion, model_endpoint
from summaries.injections import FAITHFUL, OBEYED, ORDER

EXTRACT = ExtractiveSummarizer().summarize(ORDER, None)
# 150 tokens are what the double says that an answer cost.
ENOUGH = Budget(tokens_a_day=20_000)
BROKEN = Scripted({"error": {"message": "oops"}}, 500)


def summarizer(endpoint: Endpoint, budget: Budget = ENOUGH, *, timeout_s: float = 30.0) -> ModelSummarizer:
    model = openai(f"{endpoint.url}/v1", "small", timeout_s=timeout_s, sleep=lambda _: None)
    return ModelSummarizer(model, MemorySpending(budget, lambda: 1_763_726_400_000))


def spent(made_by: ModelSummarizer, limit: int = 20_000) -> int:
    """What is spent already, found by what is left."""
    left = next(n for n in range(limit, -1, -1) if made_by.spending.reserve(Cost(n)) is not None)
    return limit - left


def test_a_faithful_answer_is_the_summary() -> None:
    with model_endpoint(completion(f"Summary: {FAITHFUL}")) as endpoint:
        asked = summarizer(endpoint)
        summary = asked.summarize(ORDER, None)
    assert summary == Summary(FAITHFUL, EXTRACT.open_questions, Made("model", "small", None, 120, 30))
    assert spent(asked) == 150
    messages = endpoint.requests[0][2]["messages"]
    assert [message["role"] for message in messages] == ["system", "user"]


def test_the_same_window_again_is_answered_from_what_was_paid_for() -> None:
    with model_endpoint(completion(FAITHFUL)) as endpoint:
        asked = summarizer(endpoint)
        first, again = asked.summarize(ORDER, None), asked.summarize(ORDER, None)
        assert again == first
        assert len(endpoint.requests) == 1
        asked.summarize(ORDER[:3], None)
        assert len(endpoint.requests) == 2
    assert spent(asked) == 300


def test_an_answer_that_was_not_taken_is_not_asked_for_again_either() -> None:
    with model_endpoint(completion("It is", "length")) as endpoint:
        asked = summarizer(endpoint)
        first, again = asked.summarize(ORDER, None), asked.summarize(ORDER, None)
    assert first == again
    assert first.made == Made("extractive", "small", "not whole: the answer ends by length", 120, 30)
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize(("said", "answer"), OBEYED.values(), ids=OBEYED)
def test_a_model_that_obeys_the_conversation_is_not_quoted(
    said: str, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    turns = [*ORDER, Turn(5, "customer", said)]
    with model_endpoint(completion(answer)) as endpoint, caplog.at_level(logging.WARNING, "afterwrite"):
        summary = summarizer(endpoint).summarize(turns, None)
    expected = ExtractiveSummarizer().summarize(turns, None)
    assert (summary.text, summary.made.method, summary.made.model) == (expected.text, "extractive", "small")
    assert summary.made.fallback is not None
    assert answer not in summary.made.fallback
    assert [record.message for record in caplog.records] == ["summary extracted"]


@pytest.mark.parametrize(
    ("answer", "reason", "tokens"),
    [
        (completion(""), "empty: expected a summary, got nothing", 150),
        (completion("It is", "length"), "not whole: the answer ends by length", 150),
        (completion(None, refusal="No."), "not whole: the answer ends by refusal", 150),
        (BROKEN, "failed: unavailable, HTTP 500", 0),
        (Scripted({"error": {"code": "rate_limit_exceeded"}}, 429), "failed: throttled, rate_limit_exceeded", 0),
        (Scripted({"error": {"message": "secret words"}}, 400), "failed: rejected, HTTP 400", 0),
        (Scripted(b"{", 200), "failed: unavailable, MalformedAnswer", None),
    ],
    ids=["empty", "length", "refusal", "500", "429", "400", "malformed"],
)
def test_why_a_model_s_answer_was_not_taken_is_kept(answer: Scripted, reason: str, tokens: int | None) -> None:
    with model_endpoint(answer) as endpoint:
        asked = summarizer(endpoint)
        summary = asked.summarize(ORDER, None)
    assert summary == replace(EXTRACT, made=summary.made)
    assert summary.made.fallback == reason
    # What may have been billed without an answer stays spent as it was set aside: more than an answer costs.
    assert spent(asked) == tokens if tokens is not None else spent(asked) > 1_000


def test_a_model_that_does_not_answer_in_time_costs_the_time_only() -> None:
    with model_endpoint(Scripted({}, hold=True)) as endpoint:
        summary = summarizer(endpoint, timeout_s=0.3).summarize(ORDER, None)
    assert summary.made.fallback == "failed: unavailable, TimeoutError"


def test_where_the_budget_ends_nothing_is_asked() -> None:
    with model_endpoint(completion(FAITHFUL)) as endpoint:
        summary = summarizer(endpoint, Budget(tokens_a_day=1_000)).summarize(ORDER, None)
        assert endpoint.requests == []
    assert summary.made.fallback == "budget: the day's budget does not hold the request"
    assert summary.text == EXTRACT.text


def test_an_outage_is_left_to_the_engine_where_that_is_chosen() -> None:
    busy = Scripted({}, 429, {"Retry-After": "600"})
    with model_endpoint(busy) as endpoint:
        with pytest.raises(Throttled) as raised:
            replace(summarizer(endpoint), outage="raise").summarize(ORDER, None)
        assert raised.value.retry_after_s == 600
    with model_endpoint(BROKEN) as endpoint, pytest.raises(Unavailable):
        replace(summarizer(endpoint), outage="raise").summarize(ORDER, None)
    with model_endpoint(Scripted({}, 401)) as endpoint:
        summary = replace(summarizer(endpoint), outage="raise").summarize(ORDER, None)
        assert summary.made.fallback == "failed: permission, HTTP 401"


def test_silence_is_not_sent_to_a_model() -> None:
    with model_endpoint(completion(FAITHFUL)) as endpoint:
        assert summarizer(endpoint).summarize([Turn(1, "customer", " \n")], None).made == Made()
        assert endpoint.requests == []
