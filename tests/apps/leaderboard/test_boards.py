"""The boards on a real Redis: late, repeated and reordered changes, boards that were lost, a server that is away."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from afterwrite import Unavailable
from demonstration.redis_process import RedisProcess
from leaderboard.boards import VIEW, Boards, Score

Items = list[Mapping[str, Any]]
FIRST = 1_790_000_000_000_000
"""A first version: microseconds since the epoch."""


@pytest.fixture
def boards(redis_server: RedisProcess) -> Iterator[Boards]:
    boards = Boards(redis_server.url)
    yield boards
    boards.close()


def score(player: str, day: str, version: int, points: int | None) -> Score:
    return Score(player, day, version, points)


def item(player: str, day: str, version: int, points: int) -> Mapping[str, Any]:
    return {"playerId": player, "day": day, "version": version, "score": points}


def nothing() -> Items:
    return []


def test_a_board_for_each_day_and_one_of_all_time(boards: Boards) -> None:
    for each in [("ann", "d1", 1, 30), ("ann", "d2", 2, 10), ("bob", "d1", 3, 20), ("cid", "d2", 4, 40)]:
        boards.show(score(*each), nothing)
    assert boards.top(10, "d1") == [("ann", 30), ("bob", 20)]
    assert boards.top(10, "d2") == [("cid", 40), ("ann", 10)]
    assert boards.top(2) == [("cid", 40), ("ann", 30)]
    assert (boards.rank("ann"), boards.rank("ann", "d1"), boards.rank("bob", "d2")) == (2, 1, None)


def test_a_best_day_that_is_corrected_or_taken_away_leaves_the_next_best(boards: Boards) -> None:
    boards.show(score("ann", "d1", 1, 30), nothing)
    boards.show(score("ann", "d2", 1, 10), nothing)
    boards.show(score("ann", "d1", 2, 5), nothing)
    assert boards.top(1) == [("ann", 10)]
    boards.show(score("ann", "d2", 2, None), nothing)
    assert (boards.top(1), boards.top(1, "d2")) == ([("ann", 5)], [])
    boards.show(score("ann", "d1", 3, None), nothing)
    assert (boards.top(1), boards.rank("ann")) == ([], None)


def test_changes_in_any_order_and_number_leave_the_same_boards(boards: Boards, view: Any) -> None:
    # S26, S37: what comes late or again puts nothing back.
    chance = random.Random(11)
    states: list[Score] = []
    for player in ("ann", "bob", "cid"):
        for day in ("d1", "d2"):
            points = [chance.randrange(1000) for _ in range(5)]
            states += [score(player, day, FIRST + number, each) for number, each in enumerate(points)]
            if chance.random() < 0.4:
                states.append(score(player, day, FIRST + len(points), None))
    for each in states:
        boards.show(each, nothing)
    expected = [boards.top(9), boards.top(9, "d1"), boards.top(9, "d2")]
    assert any(state.score is None for state in states)
    for _ in range(5):
        view.flushall()
        again = states * 2
        chance.shuffle(again)
        for each in again:
            boards.show(each, nothing)
        assert [boards.top(9), boards.top(9, "d1"), boards.top(9, "d2")] == expected


def test_a_score_that_was_taken_away_comes_again_under_a_later_version_only(boards: Boards) -> None:
    boards.show(score("ann", "d1", 5, None), nothing)
    boards.show(score("ann", "d1", 4, 30), nothing)
    assert boards.top(1) == []
    boards.show(score("ann", "d1", 9, 7), nothing)
    boards.show(score("ann", "d1", 5, None), nothing)
    assert boards.top(1) == [("ann", 7)]


def test_a_score_of_nothing_is_on_the_boards(boards: Boards) -> None:
    boards.show(score("ann", "d1", 1, 0), nothing)
    assert (boards.top(1), boards.top(1, "d1")) == ([("ann", 0)], [("ann", 0)])


def test_lost_boards_are_filled_from_the_table_once(boards: Boards, redis_server: RedisProcess) -> None:
    reads = []

    def items() -> Items:
        reads.append(1)
        return [item(f"p{number}", "d1", 1, number) for number in range(1_200)]

    boards.show(score("p50", "d1", 2, 7_000), items)
    boards.show(score("p51", "d1", 2, 6_000), items)
    assert len(reads) == 1
    redis_server.flush()
    boards.show(score("p52", "d1", 2, 5_000), items)
    assert len(reads) == 2
    assert boards.top(2) == [("p52", 5_000), ("p1199", 1_199)]
    assert boards.rank("p0") == 1_200


def test_what_a_change_has_shown_is_not_overwritten_by_filling(boards: Boards, redis_server: RedisProcess) -> None:
    other = Boards(redis_server.url)

    def items() -> Iterator[Mapping[str, Any]]:
        # These changes come to another process while the table is read, which is read too early for them.
        for each in (score("ann", "d1", 8, 90), score("bob", "d1", 8, None)):
            other.show(each, nothing)
        yield from (item("ann", "d1", 7, 10), item("bob", "d1", 7, 20))

    boards.show(score("cid", "d1", 1, 30), items)
    other.close()
    assert boards.top(9) == [("ann", 90), ("cid", 30)]


def test_boards_lost_while_they_are_filled_are_filled_again(boards: Boards, view: Any) -> None:
    reads = []

    def items() -> Iterator[Mapping[str, Any]]:
        reads.append(1)
        yield from (item(f"p{number}", "d1", 1, number) for number in range(600))
        if len(reads) == 1:
            view.flushall()
        yield item("p600", "d1", 1, 600)

    boards.show(score("p9", "d1", 1, 9), items)
    assert (len(reads), view.exists(VIEW), view.zcard("leaderboard:best")) == (2, 1, 601)


def test_threads_that_find_the_boards_lost_fill_them_once(boards: Boards) -> None:
    reads = []

    def items() -> Items:
        reads.append(1)
        return [item("ann", "d1", 1, 10)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: boards.show(score(f"p{number}", "d1", 1, number), items), range(40)))
    assert len(reads) == 1
    assert len(boards.top(100)) == 41


def test_rebuilding_leaves_what_the_table_has_and_nothing_else(boards: Boards, view: Any) -> None:
    view.set("another:app", "stays")
    boards.show(score("ann", "d1", 9, 90), nothing)
    boards.show(score("bob", "d2", 9, 80), nothing)
    assert boards.rebuild(lambda: [item("ann", "d1", 3, 30), item("ann", "d3", 1, 31)]) == 2
    assert boards.top(9) == [("ann", 31)]
    assert sorted(view.keys("*")) == [
        "another:app",
        "leaderboard:best",
        "leaderboard:day:d1",
        "leaderboard:day:d3",
        "leaderboard:scores:ann",
        "leaderboard:view",
    ]


def test_changes_beside_a_rebuilding_are_not_lost(boards: Boards) -> None:
    table = {f"p{number}": item(f"p{number}", "d1", 1, number) for number in range(300)}

    def change(number: int) -> None:
        # The table first, as with every change: then what follows from it.
        table[f"p{number}"] = item(f"p{number}", "d1", 2, 1_000 + number)
        boards.show(score(f"p{number}", "d1", 2, 1_000 + number), lambda: list(table.values()))

    with ThreadPoolExecutor(4) as threads:
        changes = [threads.submit(change, number) for number in range(300)]
        rebuilt = [boards.rebuild(lambda: list(table.values())) for _ in range(5)]
        for each in changes:
            each.result()
    assert all(count in (0, 300) for count in rebuilt)
    assert boards.top(300) == [(f"p{number}", 1_000 + number) for number in reversed(range(300))]


def test_boards_that_are_away_are_unavailable_and_whole_when_they_are_back(
    boards: Boards, redis_server: RedisProcess
) -> None:
    boards.show(score("ann", "d1", 1, 10), nothing)
    redis_server.kill()
    with pytest.raises(Unavailable, match="the boards do not answer") as caught:
        boards.show(score("ann", "d1", 2, 20), nothing)
    assert caught.value.retry_after_s == 1.0
    redis_server.start()
    boards.show(score("ann", "d1", 2, 20), lambda: [item("ann", "d1", 2, 20), item("bob", "d1", 1, 30)])
    assert boards.top(9) == [("bob", 30), ("ann", 20)]
