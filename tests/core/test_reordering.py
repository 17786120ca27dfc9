"""Changes that arrive twice and out of order (S26): what is released when, and in which order."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from afterwrite import Change
from afterwrite.core.reordering import Arrival, Reordering, in_order_of_creation

NEVER_US = 1 << 60


def image(value: int | None) -> dict[str, Any] | None:
    return None if value is None else {"pk": {"S": "a"}, "n": {"N": str(value)}}


def change(id: str, at_us: int, old: int | None = None, new: int | None = 0, *, pk: str = "a") -> Change:
    return Change(
        id=id,
        table="things",
        event_name="MODIFY",
        keys={"pk": {"S": pk}},
        old_image=image(old),
        new_image=image(new),
        created_at_us=at_us,
    )


def arrivals(*changes: Change, at_us: int = 0) -> list[Arrival]:
    return [Arrival(position, at_us + position, each) for position, each in enumerate(changes, 1)]


def ids(changes: Any) -> str:
    return "".join(each.id for each in changes)


def test_a_change_waits_for_older_ones_that_arrive_within_the_window() -> None:
    reordering = Reordering(window_us=100, waiting_max=10)
    reordering.add([Arrival(1, 1_000, change("b", 20))])
    assert ids(reordering.release(1_099, limit=10)) == ""
    assert (reordering.next_release_us, reordering.done_through(5)) == (1_100, 0)
    reordering.add([Arrival(2, 1_050, change("a", 10))])
    assert ids(reordering.release(1_100, limit=10)) == ""
    assert ids(reordering.release(1_150, limit=10)) == "ab"
    assert (reordering.next_release_us, reordering.done_through(5)) == (None, 5)


def test_a_record_that_comes_twice_waits_once() -> None:
    reordering = Reordering(window_us=0, waiting_max=10)
    reordering.add(arrivals(change("a", 10), change("b", 20), change("a", 10)))
    assert ids(reordering.release(NEVER_US, limit=10)) == "ab"


def test_what_is_done_ends_before_the_first_that_waits() -> None:
    reordering = Reordering(window_us=0, waiting_max=10)
    reordering.add(arrivals(change("d", 40), change("a", 10), change("b", 20), change("c", 30)))
    assert ids(reordering.release(NEVER_US, limit=2)) == "ab"
    assert reordering.done_through(4) == 0
    assert ids(reordering.release(NEVER_US, limit=2)) == "cd"
    assert reordering.done_through(4) == 4


def test_of_too_many_the_oldest_go_before_their_time() -> None:
    reordering = Reordering(window_us=1_000, waiting_max=2)
    reordering.add(arrivals(change("c", 30), change("a", 10), change("b", 20)))
    assert ids(reordering.release(0, limit=10)) == "a"


def test_changes_of_one_time_are_linked_by_their_images() -> None:
    made = [change("a", 5, None, 1), change("b", 5, 1, 2), change("c", 5, 2, 1), change("d", 5, 1, 3)]
    other = change("x", 5, 7, 8, pk="b")
    for seed in range(30):
        shuffled = [*made, other]
        random.Random(seed).shuffle(shuffled)
        found = [each for each in in_order_of_creation(shuffled, lambda each: each) if each is not other]
        assert [found[0].id, found[-1].id] == ["a", "d"]
        for first, second in pairwise(found):
            assert first.new_image == second.old_image


def test_changes_that_no_image_links_stay_as_they_arrived() -> None:
    loose = [change("b", 5, 3, 4), change("a", 5, 1, 2)]
    assert ids(in_order_of_creation(loose, lambda each: each)) == "ba"


@pytest.mark.parametrize("seed", range(20))
def test_any_disorder_within_the_window_is_undone(seed: int) -> None:
    """Each item counts up; what is made at a time arrives up to a window later, some of it twice."""
    dice = random.Random(seed)
    window_us = 500
    arriving: list[tuple[int, Change]] = []
    state: dict[str, int] = {}
    made: dict[str, list[str]] = {}
    for number in range(200):
        pk, at_us = dice.choice("abc"), 1_000 + number // 3 * 30
        old = state.get(pk)
        state[pk] = number
        each = change(f"{number:03}", at_us, old, number, pk=pk)
        made.setdefault(pk, []).append(each.id)
        arriving += [(at_us + dice.randrange(window_us), each) for _ in range(dice.choice((1, 1, 2)))]
    arriving.sort(key=lambda each: each[0])
    reordering = Reordering(window_us=window_us, waiting_max=1_000)
    released: list[Change] = []
    seen: set[str] = set()
    for position, (at_us, each) in enumerate(arriving, 1):
        if each.id not in seen:  # what was released before is for the caller to know
            reordering.add([Arrival(position, at_us, each)])
        out = reordering.release(at_us, limit=7)
        seen.update(each.id for each in out)
        released += out
    released += reordering.release(NEVER_US, limit=1_000)
    assert {pk: [each.id for each in released if each.keys["pk"] == pk] for pk in made} == made
