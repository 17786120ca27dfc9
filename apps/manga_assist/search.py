"""What conversations are found by: the words of their summaries and of the questions that were left open. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from manga_assist import keys

FIELDS: Final = ("summary", "open_questions")
"""What is searched of a document."""


def document(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """The document of a summary's item; None where it has no words."""
    if not item.get("summary_text"):
        return None
    return {
        "session_id": keys.session_id_of(item["PK"]),
        "window": keys.summary_number(item["SK"]),
        "summary": item["summary_text"],
        "open_questions": [question["text"] for question in item.get("open_questions", [])],
    }
