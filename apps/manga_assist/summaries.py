"""Rolling summaries: one for each window of ten turns, each made once, none left out.

`summarize_missing` decides which windows lack a summary and writes them; what a summary says is the business of a
`Summarizer`, which `summarizers` chooses.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from afterwrite import ConditionalCheckFailed, between, prefix
from afterwrite.summaries import Summarizer, Summary, Turn
from manga_assist import keys
from manga_assist.keys import WINDOW_TURNS

# The status of a session that has ended.
_ENDED: Final = "disconnected"


class Table(Protocol):
    """What summarizing needs of a table's client."""

    def get(self, key: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The item, read consistently."""

    def query(
        self,
        partition: Any,
        *,
        sort_key: Any = None,
        newest_first: bool = False,
        limit: int | None = None,
        attributes: Sequence[str] | None = None,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Iterable[Mapping[str, Any]]:
        """The partition's items in the order of their sort keys: those that meet the condition, of each its attributes.

        All items, and all of them, where nothing is given.
        """

    def put(self, item: Mapping[str, Any], *, condition: str | None = None) -> Any:
        """Write the item; raises ConditionalCheckFailed."""


class IncompleteWindow(Exception):
    """A window that the session's count says is full does not have its ten turns."""


def summarize_missing(
    table: Table, session_id: str, summarizer: Summarizer, now_ms: int, *, of_ended: bool = True
) -> list[int]:
    """Write the summary of every full window that has none, in order; return the windows written.

    Not `of_ended` leaves a session that has ended to its clean-up, which does it, too: both at a time would make, and
    pay for, each summary twice.

    A window's summary exists only if those of all earlier windows do, so the newest one tells where to begin.
    A session whose META carries a `ttl` is finished: its summaries were completed before the clean-up set that,
    and some may have expired since. Raises IncompleteWindow.
    """
    partition = keys.partition(session_id)
    meta = table.get({"PK": partition, "SK": keys.META})
    if meta is None or "ttl" in meta or (meta["status"] == _ENDED and not of_ended):
        return []
    windows = int(meta["turn_count"]) // WINDOW_TURNS
    newest = next(iter(table.query(partition, sort_key=prefix(keys.SUMMARY), newest_first=True, limit=1)), None)
    done = keys.summary_number(newest["SK"]) if newest else 0
    previous = _summary_of(newest)
    written = []
    for number in range(done + 1, windows + 1):
        summary = summarizer.summarize(_window(table, partition, number), previous)
        item = _item(partition, number, summary, now_ms)
        try:
            table.put(item, condition="attribute_not_exists(SK)")
        except ConditionalCheckFailed:
            # Another invocation was quicker; its summary is the one that the next window builds on.
            previous = _summary_of(table.get({"PK": partition, "SK": item["SK"]}))
        else:
            previous = summary
            written.append(number)
    return written


def _window(table: Table, partition: str, number: int) -> list[Turn]:
    expected = keys.window_turns(number)
    items = list(table.query(partition, sort_key=between(expected[0], expected[-1])))
    found = [item["SK"] for item in items]
    if found != expected:
        raise IncompleteWindow(
            f"window {number} of {partition} needs the turns {expected[0]} to {expected[-1]}, found {found}: "
            "some were deleted before they were summarized"
        )
    return [
        Turn(
            keys.turn_number(item["SK"]),
            item["role"],
            zlib.decompress(bytes(item["content_compressed"])).decode("utf-8"),
        )
        for item in items
    ]


def _item(partition: str, number: int, summary: Summary, now_ms: int) -> dict[str, Any]:
    turns = keys.window_turns(number)
    made = summary.made
    of_model: dict[str, Any] = {}
    if made.model is not None:
        of_model = {"model": made.model, "input_tokens": made.input_tokens, "output_tokens": made.output_tokens}
    if made.fallback is not None:
        of_model["fallback"] = made.fallback
    return {
        "PK": partition,
        "SK": keys.summary(number),
        "summary_text": summary.text,
        "open_questions": [
            {"turn_number": question.number, "role": question.role, "text": question.text}
            for question in summary.open_questions
        ],
        "window_start": turns[0],
        "window_end": turns[-1],
        "turns": turns,
        "method": made.method,
        **of_model,
        "created_at_ms": now_ms,
    }


def _summary_of(item: Mapping[str, Any] | None) -> Summary | None:
    if item is None:
        return None
    return Summary(
        item["summary_text"],
        tuple(
            Turn(int(question["turn_number"]), question["role"], question["text"])
            for question in item["open_questions"]
        ),
    )
