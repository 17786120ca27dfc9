"""Which windows are summarized: each exactly once, none left out, whatever goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from afterwrite.summaries import Made, Summary, Turn
from manga_assist import app
from manga_assist.sessions import Sessions
from manga_assist.summaries import IncompleteWindow, complete, summarize_missing

NOW_MS = 1_760_000_000_000


class Recording:
    """A summarizer that remembers what it was given; `meanwhile` runs once, during the first summary."""

    def __init__(self, meanwhile: Callable[[], Any] | None = None) -> None:
        self.windows: list[tuple[list[int], str | None]] = []
        self._meanwhile = meanwhile

    def summarize(self, turns: Sequence[Turn], previous: Summary | None) -> Summary:
        self.windows.append(([turn.number for turn in turns], previous.text if previous else None))
        if self._meanwhile is not None:
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()
        return Summary(f"up to {turns[-1].number}", (turns[-1],), Made("recorded"))


@pytest.fixture
def sessions(dynamodb_client: Any) -> Sessions:
    return Sessions(dynamodb_client, app.sessions.name)


def add_turns(sessions: Sessions, count: int) -> None:
    for n in range(count):
        sessions.add_turn("s1", "customer" if n % 2 == 0 else "assistant", f"sentence {n}", NOW_MS)


def stored(table: Any) -> dict[str, list[str]]:
    return {item["SK"]: item["turns"] for item in table.query("SESSION#s1", {"prefix": "SUMMARY#"})}


def window(first: int) -> list[str]:
    return [f"TURN#{n:08d}" for n in range(first, first + 10)]


def test_a_window_is_summarized_when_it_is_full(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 9)
    assert summarize_missing(sessions_table, "s1", Recording(), NOW_MS) == []
    add_turns(sessions, 1)
    assert summarize_missing(sessions_table, "s1", Recording(), NOW_MS) == [1]
    item = sessions_table.get({"PK": "SESSION#s1", "SK": "SUMMARY#000001"})
    assert item == {
        "PK": "SESSION#s1",
        "SK": "SUMMARY#000001",
        "summary_text": "up to 10",
        "open_questions": [{"turn_number": 10, "role": "customer", "text": "sentence 0"}],
        "window_start": "TURN#00000001",
        "window_end": "TURN#00000010",
        "turns": window(1),
        "method": "recorded",
        "created_at_ms": NOW_MS,
    }


def test_turns_that_arrive_during_a_summary_lose_none(sessions: Sessions, sessions_table: Any) -> None:
    # The race that loses summaries where "turn_count % 10 == 0" decides: turns 11 to 25 arrive while the summary
    # asked for by turn 10 is made, and the one asked for by turn 20 reads a count of 25.
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    by_turn_10 = Recording(meanwhile=lambda: add_turns(sessions, 15))
    assert summarize_missing(sessions_table, "s1", by_turn_10, NOW_MS) == [1]
    by_turn_20 = Recording()
    assert summarize_missing(sessions_table, "s1", by_turn_20, NOW_MS) == [2]
    assert stored(sessions_table) == {"SUMMARY#000001": window(1), "SUMMARY#000002": window(11)}
    assert by_turn_20.windows == [(list(range(11, 21)), "up to 10")]


def test_every_missing_window_is_made_up_for(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 35)
    summarizer = Recording()
    assert summarize_missing(sessions_table, "s1", summarizer, NOW_MS) == [1, 2, 3]
    assert summarizer.windows == [
        (list(range(1, 11)), None),
        (list(range(11, 21)), "up to 10"),
        (list(range(21, 31)), "up to 20"),
    ]
    assert summarize_missing(sessions_table, "s1", summarizer, NOW_MS) == []


def test_two_invocations_at_once_make_one_summary_of_each_window(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 20)
    quicker = Recording()
    slower = Recording(meanwhile=lambda: summarize_missing(sessions_table, "s1", quicker, NOW_MS + 1))
    assert summarize_missing(sessions_table, "s1", slower, NOW_MS) == []
    items = sessions_table.query("SESSION#s1", {"prefix": "SUMMARY#"})
    assert [item["created_at_ms"] for item in items] == [NOW_MS + 1, NOW_MS + 1]
    assert slower.windows[1] == (list(range(11, 21)), "up to 10")


def test_a_window_with_a_hole_is_an_error_and_writes_nothing(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    sessions_table.delete({"PK": "SESSION#s1", "SK": "TURN#00000004"})
    with pytest.raises(IncompleteWindow, match="TURN#00000001 to TURN#00000010"):
        summarize_missing(sessions_table, "s1", Recording(), NOW_MS)
    assert stored(sessions_table) == {}


def test_a_summarizer_that_fails_is_tried_again(sessions: Sessions, sessions_table: Any) -> None:
    def fail() -> None:
        raise TimeoutError("no answer")

    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    with pytest.raises(TimeoutError):
        summarize_missing(sessions_table, "s1", Recording(meanwhile=fail), NOW_MS)
    assert summarize_missing(sessions_table, "s1", Recording(), NOW_MS) == [1]


def test_a_session_that_is_gone_or_cleaned_up_is_left_alone(sessions: Sessions, sessions_table: Any) -> None:
    assert summarize_missing(sessions_table, "s1", Recording(), NOW_MS) == []
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    meta = sessions_table.get({"PK": "SESSION#s1", "SK": "META"})
    sessions_table.put({**meta, "ttl": NOW_MS // 1000})
    assert summarize_missing(sessions_table, "s1", Recording(), NOW_MS) == []


def test_a_session_that_has_ended_is_left_to_its_clean_up(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    sessions.disconnect("s1", NOW_MS)
    assert summarize_missing(sessions_table, "s1", Recording(), NOW_MS) == []
    items = sessions_table.query("SESSION#s1")
    assert complete(sessions_table, items, Recording(), NOW_MS) == ["SUMMARY#000001"]


def test_a_clean_up_makes_the_windows_behind_the_newest_summary(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    summarize_missing(sessions_table, "s1", Recording(), NOW_MS)
    add_turns(sessions, 25)
    sessions.disconnect("s1", NOW_MS)
    summarizer = Recording()
    items = sessions_table.query("SESSION#s1")
    assert complete(sessions_table, items, summarizer, NOW_MS) == ["SUMMARY#000002", "SUMMARY#000003"]
    assert summarizer.windows == [(list(range(11, 21)), "up to 10"), (list(range(21, 31)), "up to 20")]
    assert complete(sessions_table, sessions_table.query("SESSION#s1"), summarizer, NOW_MS) == []


def test_a_summary_that_another_invocation_makes_meanwhile_is_among_the_completed(
    sessions: Sessions, sessions_table: Any
) -> None:
    # The other one began before the session's end, and is quicker at both windows.
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 20)
    items = sessions_table.query("SESSION#s1")
    slower = Recording(meanwhile=lambda: summarize_missing(sessions_table, "s1", Recording(), NOW_MS + 1))
    assert complete(sessions_table, items, slower, NOW_MS) == ["SUMMARY#000001", "SUMMARY#000002"]
    assert stored(sessions_table) == {"SUMMARY#000001": window(1), "SUMMARY#000002": window(11)}
    summaries = sessions_table.query("SESSION#s1", {"prefix": "SUMMARY#"})
    assert [item["created_at_ms"] for item in summaries] == [NOW_MS + 1, NOW_MS + 1]


def test_a_clean_up_makes_no_summary_of_a_window_with_a_hole(sessions: Sessions, sessions_table: Any) -> None:
    sessions.start("s1", "c1", NOW_MS)
    add_turns(sessions, 10)
    items = [item for item in sessions_table.query("SESSION#s1") if item["SK"] != "TURN#00000004"]
    with pytest.raises(IncompleteWindow, match="TURN#00000001 to TURN#00000010"):
        complete(sessions_table, items, Recording(), NOW_MS)
    assert stored(sessions_table) == {}
