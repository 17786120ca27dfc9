"""Requests to models, and what becomes of what they answer."""

from __future__ import annotations

from typing import Any

import pytest

from afterwrite.core.models import answered, converse_request, messages_request
from afterwrite.errors import ServiceError

ASKED = {"messages": [{"role": "user", "content": "one two"}]}


@pytest.mark.parametrize(
    ("parameters", "text", "reason"),
    [
        ({}, "a b  c", "end_turn"),
        ({"max_tokens": 2}, "a b", "max_tokens"),
        ({"max_tokens": 3}, "a b  c", "end_turn"),
        ({"stop_sequences": ["  ", "x"]}, "a b", "stop_sequence"),
    ],
)
def test_an_answer_is_cut_where_the_request_says_so_s39(parameters: Any, text: str, reason: str) -> None:
    answer = answered(messages_request("m", {**ASKED, **parameters}), "a b  c")
    assert (answer.text, answer.stop_reason, answer.input_tokens) == (text, reason, 2)


@pytest.mark.parametrize("read", [messages_request, converse_request])
@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"messages": []},
        {"messages": ["text"]},
        {"messages": [{"role": "assistant", "content": "x"}]},
        {**ASKED, "max_tokens": 0, "inferenceConfig": {"maxTokens": 0}},
    ],
)
def test_what_is_no_conversation_is_refused(read: Any, body: Any) -> None:
    with pytest.raises(ServiceError, match="ValidationException"):
        read("m", body)
