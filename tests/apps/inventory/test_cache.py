"""The cache on a real Redis: late and repeated changes, removals, a view that was lost, a server that is away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from afterwrite import Unavailable
from demonstration.redis_process import RedisProcess
from inventory.cache import VIEW, Cache, Refresh, as_json

NINES = "9" * 21
LONGER = "1" + "0" * 21
"""One more than NINES: to a double the two are the same number, as text it is the smaller."""


@pytest.fixture
def cache(redis_server: RedisProcess) -> Iterator[Cache]:
    cache = Cache(redis_server.url)
    yield cache
    cache.close()


def product(quantity: int, product_id: str = "CD-1") -> dict[str, Any]:
    return {"productId": product_id, "name": "Blue", "quantity": Decimal(quantity)}


def shown(version: str, quantity: int, product_id: str = "CD-1") -> Refresh:
    return Refresh(product_id, version, as_json(product(quantity, product_id)), quantity)


def removed(version: str, product_id: str = "CD-1") -> Refresh:
    return Refresh(product_id, version, None, 0)


def nothing() -> list[Mapping[str, Any]]:
    return []


def test_a_product_is_its_json_and_its_stock_alone(cache: Cache, view: Any) -> None:
    cache.refresh(shown("1", 7), nothing)
    assert json.loads(view.get("product:CD-1")) == {"productId": "CD-1", "name": "Blue", "quantity": 7}
    assert view.get("stock:CD-1") == "7"
    assert (cache.stock("CD-1"), cache.stock("CD-2")) == (7, None)


@pytest.mark.parametrize(
    ("versions", "left"),
    [
        (("5", "6"), 2),
        (("6", "5"), 1),
        (("5", "5"), 1),
        ((NINES, LONGER), 2),
        ((LONGER, NINES), 1),
        (("100000000000000000001", "100000000000000000002"), 2),
        (("100000000000000000002", "100000000000000000001"), 1),
    ],
)
def test_versions_compare_as_integers_of_any_length(cache: Cache, versions: tuple[str, str], left: int) -> None:
    # S37: a Lua number would lose digits, and text alone would put the longer one first.
    for quantity, version in enumerate(versions, start=1):
        cache.refresh(shown(version, quantity), nothing)
    assert cache.stock("CD-1") == left


def test_a_removed_product_does_not_come_back_with_a_late_change(cache: Cache, view: Any) -> None:
    # S37: a tombstone outlives what can still come.
    cache.refresh(shown("5", 1), nothing)
    cache.refresh(removed("7"), nothing)
    cache.refresh(shown("6", 2), nothing)
    assert view.keys("*:CD-1") == ["version:CD-1"]
    assert 6 * 86_400_000 < view.pttl("version:CD-1") <= 7 * 86_400_000


def test_a_product_listed_again_is_there_for_good(cache: Cache, view: Any) -> None:
    cache.refresh(removed("7"), nothing)
    cache.refresh(shown("8", 3), nothing)
    cache.refresh(removed("7"), nothing)
    assert cache.stock("CD-1") == 3
    assert view.pttl("version:CD-1") == -1


def test_a_lost_view_is_filled_from_the_table_once(cache: Cache, redis_server: RedisProcess) -> None:
    reads = []

    def items() -> list[Mapping[str, Any]]:
        reads.append(1)
        return [product(number, f"CD-{number}") for number in range(1_200)]

    for version in ("1", "2"):
        cache.refresh(shown(version, 50, "CD-50"), items)
    assert len(reads) == 1
    redis_server.flush()
    cache.refresh(shown("3", 50, "CD-50"), items)
    assert len(reads) == 2
    assert [cache.stock(f"CD-{number}") for number in (1, 600, 1_199)] == [1, 600, 1_199]


def test_what_a_change_has_shown_is_not_overwritten_by_filling(cache: Cache) -> None:
    def items() -> Iterator[Mapping[str, Any]]:
        # These changes come while the table is read, which is read too early for them.
        cache._refresh(keys=["product:CD-1", "stock:CD-1", "version:CD-1", VIEW], args=["8", "{}", 9, 1000])
        cache._refresh(keys=["product:CD-3", "stock:CD-3", "version:CD-3", VIEW], args=["9", "", 0, 60_000])
        yield from (product(1), product(2, "CD-2"), product(3, "CD-3"))

    cache.refresh(shown("5", 5, "CD-5"), items)
    assert [cache.stock(f"CD-{number}") for number in (1, 2, 3, 5)] == [9, 2, None, 5]


def test_a_view_lost_while_it_is_filled_is_filled_again(cache: Cache, view: Any) -> None:
    table = [product(1), product(2, "CD-2")]
    reads = []

    def items() -> Iterator[Mapping[str, Any]]:
        reads.append(1)
        yield table[0]
        if len(reads) == 1:
            view.flushall()
            table[1]["quantity"] = Decimal(20)
        yield table[1]

    cache.refresh(shown("5", 5, "CD-5"), items)
    assert (len(reads), view.exists(VIEW)) == (2, 1)
    assert (cache.stock("CD-1"), cache.stock("CD-2")) == (1, 20)


def test_threads_that_find_the_view_lost_fill_it_once(cache: Cache) -> None:
    reads = []

    def items() -> list[Mapping[str, Any]]:
        reads.append(1)
        return [product(1)]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: cache.refresh(shown("5", number, f"CD-{number}"), items), range(10, 50)))
    assert len(reads) == 1
    assert [cache.stock(f"CD-{number}") for number in (1, 10, 49)] == [1, 10, 49]


def test_a_cache_that_is_away_is_unavailable_and_is_whole_when_it_is_back(
    cache: Cache, redis_server: RedisProcess
) -> None:
    cache.refresh(shown("1", 1), nothing)
    redis_server.kill()
    with pytest.raises(Unavailable, match="the cache does not answer") as caught:
        cache.refresh(shown("2", 2), nothing)
    assert caught.value.retry_after_s == 1.0
    redis_server.start()
    cache.refresh(shown("2", 2), lambda: [product(2), product(7, "CD-7")])
    assert (cache.stock("CD-1"), cache.stock("CD-7")) == (2, 7)


def test_an_item_that_json_cannot_hold_is_named() -> None:
    with pytest.raises(TypeError, match=r"expected text, numbers, lists and maps in a product, got \{1\}"):
        as_json({"productId": "CD-1", "tags": {1}})
