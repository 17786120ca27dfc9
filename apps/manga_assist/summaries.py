"""Rolling summaries: one for each window of ten turns, each made once, none left out.

`summarize_missing` decides which windows of a session lack a summary and writes them, `complete` those of a session
that has ended; what a summary says is the business of a `Summarizer`, which `summarizers` chooses.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from afterwrite import ConditionalCheckFailed, between, prefix
from afterwrite.summaries import Summarizer, Summary, Turn
from manga_assist import keys
from manga_assist.keys import WINDOW_TURNS
from manga_assist.statuses import DISCONNECTED


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


def summarize_missing(table: Table, session_id: str, summarizer: Summarizer, now_ms: int) -> list[int]:
    """Write the summary of every full window that has none, in order; return the windows written.

    A window's summary exists only if those of all earlier windows do, so the newest one tells where to begin. A session
    that has ended is left to its clean-up, which completes its summaries, too: both at a time would make, and pay for,
    each summary twice. Raises IncompleteWindow.
    """
    partition = keys.partition(session_id)
    meta = table.get({"PK": partition, "SK": keys.META})
    if meta is None or "ttl" in meta or meta["status"] == DISCONNECTED:
        return []
    newest = next(iter(table.query(partition, sort_key=prefix(keys.SUMMARY), newest_first=True, limit=1)), None)

    def items_of(turns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        return table.query(partition, sort_key=between(turns[0], turns[-1]))

    return _summarize(table, meta, newest, items_of, summarizer, now_ms)


def complete(table: Table, items: Iterable[Mapping[str, Any]], summarizer: Summarizer, now_ms: int) -> list[str]:
    """Write the summaries that a session lacks which has ended, of which `items` are all; the sort keys of those.

    Where META carries a `ttl` they were complete before the clean-up set that, and some may have expired since: there
    is nothing to write. Raises IncompleteWindow.
    """
    found = {item["SK"]: item for item in items}
    meta = found.get(keys.META)
    if meta is None or "ttl" in meta:
        return []
    newest = found.get(max((sort_key for sort_key in found if sort_key.startswith(keys.SUMMARY)), default=""))

    def items_of(turns: Sequence[str]) -> Iterable[Mapping[str, Any]]:
        return [found[turn] for turn in turns if turn in found]

    _summarize(table, meta, newest, items_of, summarizer, now_ms)
    return [keys.summary(number) for number in _missing(meta, newest)]


def _missing(meta: Mapping[str, Any], newest: Mapping[str, Any] | None) -> range:
    """The full windows behind that of the newest summary."""
    done = keys.summary_number(newest["SK"]) if newest else 0
    return range(done + 1, int(meta["turn_count"]) // WINDOW_TURNS + 1)


def _summarize(
    table: Table,
    meta: Mapping[str, Any],
    newest: Mapping[str, Any] | None,
    items_of: Callable[[Sequence[str]], Iterable[Mapping[str, Any]]],
    summarizer: Summarizer,
    now_ms: int,
) -> list[int]:
    """Write the missing summaries in order; `items_of` has the items of turns. The windows written."""
    partition, previous = meta["PK"], _summary_of(newest)
    written = []
    for number in _missing(meta, newest):
        summary = summarizer.summarize(_window(partition, number, items_of), previous)
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


def _window(
    partition: str, number: int, items_of: Callable[[Sequence[str]], Iterable[Mapping[str, Any]]]
) -> list[Turn]:
    expected = keys.window_turns(number)
    items = list(items_of(expected))
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
