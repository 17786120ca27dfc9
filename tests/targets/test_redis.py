"""The cache on a real Redis, alone and as a cluster: late and repeated effects, removals, a cache that was lost."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any

import pytest
import redis

from afterwrite.core.effects import Show, StampedEffect
from afterwrite.core.target_failures import TargetFailure
from afterwrite.errors import InvalidValue
from afterwrite.targets.redis import RedisCache
from bounds import BOUND_S
from demonstration.redis_process import RedisProcess, server
from engine_process import wait_until

NINES = "9" * 21
LONGER = "1" + "0" * 21
"""One more than NINES: to a double the two are the same number, as text it is the smaller."""
NOW_MS = 1_790_000_000_000
SLOTS = 16_384


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis") / "redis.log")
    process.start()
    yield process
    process.kill()


def free_port() -> int:
    """One whose cluster bus, 10,000 above it, is a port, too."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port < 55_000:
            return port


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two nodes, each with half of the slots."""
    ports = [free_port(), free_port()]
    nodes: list[Any] = []
    processes = []
    for port in ports:
        directory = tmp_path_factory.mktemp("node")
        command = [server(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]
        processes.append(subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL))
        nodes.append(redis.Redis(port=port))
    try:
        for number, node in enumerate(nodes):
            wait_until(lambda node=node: answers(node))  # type: ignore[misc]
            half = range(number * SLOTS // 2, (number + 1) * SLOTS // 2)
            node.execute_command("CLUSTER ADDSLOTS", *half)
        nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", ports[1])
        wait_until(lambda: all(knows_the_other(node) for node in nodes), bound_s=BOUND_S)
        yield f"redis://127.0.0.1:{ports[0]}?cluster=true"
    finally:
        for node, process in zip(nodes, processes, strict=True):
            node.close()
            process.kill()
            process.wait()


def knows_the_other(node: Any) -> bool:
    return bool(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok")


def answers(node: Any) -> bool:
    try:
        return bool(node.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture(params=["alone", "cluster"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty Redis."""
    if request.param == "alone":
        found: str = request.getfixturevalue("alone").url
        with redis.Redis.from_url(found) as client:
            client.flushall()
        return found
    cluster: str = request.getfixturevalue("cluster_url")
    with redis.RedisCluster.from_url(cluster.partition("?")[0]) as client:
        client.flushall(target_nodes="primaries")
    return cluster


@pytest.fixture
def view(url: str) -> Iterator[Any]:
    """A client that looks at what the cache holds."""
    plain = url.partition("?")[0]
    cls = redis.RedisCluster if plain != url else redis.Redis
    with cls.from_url(plain, decode_responses=True) as client:
        yield client


@pytest.fixture
def cache(url: str) -> Iterator[RedisCache]:
    cache = RedisCache("cache/shop", url, now_ms=count(NOW_MS).__next__)
    yield cache
    cache.close()


def stock(quantity: int, version: str, product: str = "CD-1") -> Show:
    values = {f"product:{{{product}}}": f"all of {product}", f"stock:{{{product}}}": str(quantity)}
    return Show("shop", product, version, values)


def gone(version: str, product: str = "CD-1") -> Show:
    return Show("shop", product, version, {}, tuple(stock(0, "0", product).values))


def send(cache: RedisCache, *shows: Show) -> Sequence[TargetFailure | None]:
    return cache.send([cache.entry(StampedEffect(f"c{n}/r/0", "t/a", 0, show)) for n, show in enumerate(shows)])


def everywhere(view: Any) -> dict[str, Any]:
    """What lets a command go to every node of a cluster."""
    return {"target_nodes": "primaries"} if isinstance(view, redis.RedisCluster) else {}


def shown(view: Any, *products: str) -> list[str | None]:
    return [view.get(f"stock:{{{product}}}") for product in products]


def test_all_keys_of_many_items_in_one_request(cache: RedisCache, view: Any) -> None:
    assert send(cache, *(stock(n, "1", f"CD-{n}") for n in range(50))) == [None] * 50
    assert shown(view, "CD-0", "CD-49", "CD-50") == ["0", "49", None]
    assert view.get("product:{CD-49}") == "all of CD-49"


@pytest.mark.parametrize(
    ("versions", "left"),
    [
        (("5", "6"), "2"),
        (("6", "5"), "1"),
        (("5", "5"), "1"),
        ((NINES, LONGER), "2"),
        ((LONGER, NINES), "1"),
        (("100000000000000000001", "100000000000000000002"), "2"),
        (("100000000000000000002", "100000000000000000001"), "1"),
    ],
)
def test_versions_compare_as_integers_of_any_length_s37(
    cache: RedisCache, view: Any, versions: tuple[str, str], left: str
) -> None:
    # A Lua number would lose digits, and text alone would put the longer one first.
    for quantity, version in enumerate(versions, start=1):
        assert send(cache, stock(quantity, version)) == [None]
    assert shown(view, "CD-1") == [left]


def test_a_removed_item_does_not_come_back_with_a_late_effect_s37(cache: RedisCache, view: Any) -> None:
    assert send(cache, stock(1, "5"), gone("7"), stock(2, "6")) == [None] * 3
    assert view.keys("*CD-1*", **everywhere(view)) == ["version:{CD-1}:CD-1"]
    assert 6 * 86_400_000 < view.pttl("version:{CD-1}:CD-1") <= 7 * 86_400_000
    assert send(cache, stock(3, "8"), gone("7")) == [None] * 2
    assert shown(view, "CD-1") == ["3"]
    assert view.pttl("version:{CD-1}:CD-1") == -1, "it is there for good"


def test_keys_that_an_item_has_no_more_are_removed(cache: RedisCache, view: Any) -> None:
    moved = Show("shop", "CD-1", "2", {"place:{CD-1}:b": "here"}, ("place:{CD-1}:a",))
    assert send(cache, Show("shop", "CD-1", "1", {"place:{CD-1}:a": "here"}), moved) == [None] * 2
    assert view.keys("place*", **everywhere(view)) == ["place:{CD-1}:b"]


def test_one_entry_that_redis_refuses_does_not_fail_the_others(cache: RedisCache, view: Any) -> None:
    view.lpush("version:{CD-2}:CD-2", "no version")
    failures = send(cache, stock(1, "1"), stock(2, "1", "CD-2"), stock(3, "1", "CD-3"))
    assert [failure and failure.kind for failure in failures] == [None, "rejected", None]
    assert failures[1] is not None
    assert failures[1].code == "WRONGTYPE"
    assert shown(view, "CD-1", "CD-3") == ["1", "3"]


def test_scripts_that_a_server_has_forgotten_are_told_again(cache: RedisCache, view: Any) -> None:
    send(cache, stock(1, "1"))
    view.script_flush()
    assert send(cache, stock(2, "2"), stock(2, "1", "CD-2")) == [None, None]
    assert shown(view, "CD-1", "CD-2") == ["2", "2"]


def test_a_lost_cache_is_filled_once_and_changes_win(cache: RedisCache, view: Any) -> None:
    reads = []

    def rows() -> list[Show]:
        reads.append(1)
        return [stock(number, "0", f"CD-{number}") for number in range(1_200)]

    send(cache, stock(500, "1" * 21, "CD-50"))
    assert not cache.is_whole
    assert (cache.fill(rows), cache.fill(rows)) == ([], [])
    send(cache, stock(51, "1" * 21, "CD-51"))
    assert (len(reads), cache.is_whole) == (1, True)
    assert shown(view, "CD-1", "CD-50", "CD-51", "CD-1199") == ["1", "500", "51", "1199"]
    view.flushall(**everywhere(view))
    send(cache, stock(1, "2" * 21))
    assert not cache.is_whole
    assert cache.fill(rows) == []
    assert (len(reads), shown(view, "CD-1", "CD-50")) == (2, ["1", "50"])


def test_what_a_change_has_shown_or_removed_is_not_overwritten_by_filling(cache: RedisCache, view: Any) -> None:
    def rows() -> Iterator[Show]:
        # These changes come while the tables are read, which are read too early for them.
        send(cache, stock(9, "8" * 21), gone("9" * 21, "CD-3"))
        yield from (stock(1, "0"), stock(2, "0", "CD-2"), stock(3, "0", "CD-3"))

    assert cache.fill(rows) == []
    assert shown(view, "CD-1", "CD-2", "CD-3") == ["9", "2", None]


def test_a_cache_that_is_lost_while_it_is_filled_is_filled_again(alone: RedisProcess) -> None:
    cache = RedisCache("cache/shop", alone.url, now_ms=count(NOW_MS).__next__)
    with redis.Redis.from_url(alone.url, decode_responses=True) as client:
        client.flushall()
        reads = []

        def rows() -> Iterator[Show]:
            reads.append(1)
            yield stock(len(reads), "0")
            if len(reads) == 1:
                client.flushall()
                yield stock(1, "0", "CD-GONE")
            yield stock(len(reads) * 10, "0", "CD-2")

        assert cache.fill(rows) == []
        assert (len(reads), shown(client, "CD-1", "CD-2", "CD-GONE")) == (2, ["2", "20", None])
    cache.close()


def test_a_server_that_is_away_is_tried_again(alone: RedisProcess) -> None:
    cache = RedisCache("cache/shop", alone.url, now_ms=lambda: NOW_MS)
    assert send(cache, stock(1, "1")) == [None]
    alone.kill()
    try:
        (failure,) = send(cache, stock(2, "2"))
        assert failure is not None
        assert (failure.kind, failure.target) == ("unavailable", "cache/shop")
        assert [each.kind for each in cache.fill(list)] == ["unavailable"]
    finally:
        alone.start()
    assert send(cache, stock(2, "2")) == [None]
    cache.close()


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (lambda client: client.config_set("maxmemory", "1"), "throttled"),
        (lambda client: client.execute_command("REPLICAOF", "127.0.0.1", "1"), "unavailable"),
        (lambda client: client.execute_command("ACL", "SETUSER", "default", "-set"), "permission"),
        (lambda client: client.execute_command("ACL", "SETUSER", "default", "-evalsha"), "permission"),
        (lambda client: client.config_set("requirepass", "secret"), "permission"),
    ],
)
def test_what_a_server_s_refusals_mean(alone: RedisProcess, command: Callable[[Any], Any], kind: str) -> None:
    with redis.Redis.from_url(alone.url) as client:
        command(client)
    cache = RedisCache("cache/shop", alone.url, now_ms=lambda: NOW_MS)
    try:
        (failure,) = send(cache, stock(1, str(time.time_ns())))
        assert failure is not None
        assert failure.kind == kind, failure
    finally:
        cache.close()
        alone.kill()
        alone.start()


def test_keys_that_a_cluster_holds_apart_are_refused_before_they_are_sent() -> None:
    cache = RedisCache("cache/shop", "redis://127.0.0.1:1/0?cluster=true", now_ms=lambda: 0)
    with pytest.raises(InvalidValue, match=r"expected keys with one hash tag.* got product:1, stock:1"):
        send(cache, Show("shop", "1", "1", {"product:1": "", "stock:1": ""}))
    with pytest.raises(InvalidValue, match="expected the version of 1 in cache/shop to be a whole number"):
        send(cache, Show("shop", "1", "1.5", {"product:{1}": ""}))
    with pytest.raises(InvalidValue, match="expected keys to show or remove"):
        send(cache, Show("shop", "1", "1", {}))
