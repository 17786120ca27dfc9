"""Real conversations to replay: the Chit-Chat data set (BYU, MIT licence), as chats of a customer and an assistant.

A turn is what one person says until the other speaks: the data set's messages in a row, one a line.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

CUSTOMER: Final = "customer"
ASSISTANT: Final = "assistant"

TURNS_MAX: Final = 80
"""Longer conversations are left out: a handful of them would be most of a replay."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn: who said it (the data set's id and the role here), what, and when (epoch milliseconds)."""

    sender: str
    role: str
    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation of two people, in the order it was said."""

    id: str
    turns: list[Turn]


def load(minimum_turns: int, limit: int) -> list[Conversation]:
    """Up to `limit` conversations of at least `minimum_turns` turns: always the same, in the order of their ids."""
    dataset: dict[str, Any] = json.loads((files("chitchat_dataset") / "dataset.json").read_bytes())
    chosen = (
        conversation_id
        for conversation_id in sorted(dataset)
        if minimum_turns <= len(dataset[conversation_id]["messages"]) <= TURNS_MAX
    )
    return [
        Conversation(conversation_id, _turns(dataset[conversation_id]["messages"]))
        for conversation_id, _ in zip(chosen, range(limit), strict=False)
    ]


def _turns(messages: list[list[dict[str, str]]]) -> list[Turn]:
    customer = messages[0][0]["sender"]
    return [
        Turn(
            sender=said[0]["sender"],
            role=CUSTOMER if said[0]["sender"] == customer else ASSISTANT,
            text="\n".join(message["text"] for message in said),
            at_ms=round(datetime.fromisoformat(said[0]["timestamp"]).timestamp() * 1000),
        )
        for said in messages
    ]
