"""The boards: sorted sets in Redis that follow the scores table, never back, and are filled again when they are lost.

    leaderboard:day:DAY       players by their score of the day
    leaderboard:best          players by the score of their best day
    leaderboard:scores:ID     a player's scores by day, each with its version; of a removed one the version alone
    leaderboard:view          what says that the boards are whole

A score's version is raised by every write of its item and goes on from the clock where an item is new, so that of two
states of a score the later one has the higher version: whether it comes from a change, once, twice or late, or from
reading the table. One script compares it and writes all of the player's places.

Whoever finds `leaderboard:view` missing fills the boards from the table, beside the changes that go on.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from afterwrite import Change, Unavailable

BEST: Final = "leaderboard:best"
VIEW: Final = "leaderboard:view"
_FILLING: Final = "leaderboard:filling"
_ANSWER_S_MAX: Final = 5.0
_RETRY_AFTER_S: Final = 1.0
_BATCH: Final = 500

# Versions are microseconds since the epoch and some: a double holds them exactly.
_SHOW: Final = """
local scores, day, best, player, date, version, score = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local held = redis.call('HGET', scores, date)
if held and tonumber(string.match(held, '^%d+')) > tonumber(version) then return redis.call('EXISTS', KEYS[4]) end
redis.call('HSET', scores, date, version .. ':' .. score)
if score == '' then redis.call('ZREM', day, player) else redis.call('ZADD', day, score, player) end
local highest
for _, each in ipairs(redis.call('HVALS', scores)) do
  local reached = tonumber(string.match(each, ':(.+)$'))
  if reached and (not highest or reached > highest) then highest = reached end
end
if highest then redis.call('ZADD', best, highest, player) else redis.call('ZREM', best, player) end
return redis.call('EXISTS', KEYS[4])
"""

# The boards count as whole only if nothing was lost since their filling began.
_FINISH: Final = """
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('RENAME', KEYS[2], KEYS[1]) end
return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0
"""

# All at once, so that nothing that is shown meanwhile is lost with what was there before.
_CLEAR: Final = """
for _, key in ipairs(redis.call('KEYS', 'leaderboard:*')) do redis.call('UNLINK', key) end
"""

Items: TypeAlias = Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Score:
    """A player's score of a day; None where it was removed."""

    player_id: str
    day: str
    version: int
    score: int | None

    @classmethod
    def of(cls, change: Change) -> Score:
        """What the boards are to show after the change."""
        if change.new is not None:
            return cls.of_item(change.new)
        removed = cls.of_item(change.old or {})
        return cls(removed.player_id, removed.day, removed.version + 1, None)

    @classmethod
    def of_item(cls, item: Mapping[str, Any]) -> Score:
        """What the boards are to show of the table's item."""
        return cls(item["playerId"], item["day"], int(item["version"]), int(item["score"]))

    def to_request(self) -> dict[str, Any]:
        """The request that a function is given."""
        return asdict(self)

    @classmethod
    def from_request(cls, request: Mapping[str, Any]) -> Score:
        """The same, as the function gets it."""
        return cls(request["player_id"], request["day"], request["version"], request["score"])


class Boards:
    """The boards in the Redis at `url`. Safe for use by several threads. No connection is made before it is used.

    Every method raises Unavailable where Redis does not answer.
    """

    def __init__(self, url: str) -> None:
        self._redis = redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_ANSWER_S_MAX,
            socket_connect_timeout=_ANSWER_S_MAX,
            retry=Retry(NoBackoff(), 1),  # a pooled connection may be to a server that is gone; the queue waits longer
        )
        self._show = self._redis.register_script(_SHOW)
        self._finish = self._redis.register_script(_FINISH)
        self._clear = self._redis.register_script(_CLEAR)
        self._filling = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def top(self, count: int, day: str | None = None) -> list[tuple[str, int]]:
        """The best `count` players and their scores, of a day or of all time, the best first."""
        with _answered():
            ranked: Any = self._redis.zrevrange(BEST if day is None else board(day), 0, count - 1, withscores=True)
        return [(player, int(score)) for player, score in ranked]

    def rank(self, player_id: str, day: str | None = None) -> int | None:
        """The player's place, counted from 1; None where the board has no such player."""
        with _answered():
            place: Any = self._redis.zrevrank(BEST if day is None else board(day), player_id)
        return None if place is None else place + 1

    def show(self, score: Score, items: Items) -> None:
        """Show a score, unless a later one is shown; fill the boards with the table's `items()` if they are lost."""
        with _answered():
            if not self._show(keys=_keys(score), args=_arguments(score)):
                self._fill(items)

    def rebuild(self, items: Items) -> int:
        """Throw everything away and make it anew from the table's `items()`; how many there were."""
        with _answered():
            return self._fill(items, anew=True)

    def _fill(self, items: Items, *, anew: bool = False) -> int:
        shown = 0
        with self._filling:  # one of this process's threads does it for all
            if anew:
                self._clear()
            while not self._redis.exists(VIEW):
                self._redis.set(_FILLING, uuid.uuid4().hex, nx=True)
                filling: Any = self._redis.get(_FILLING)
                if filling is None:
                    continue
                # The table is read after the boards were found lost, so it holds every change that was lost with them.
                shown = self._show_all(items())
                self._finish(keys=[VIEW, _FILLING], args=[filling])
        return shown

    def _show_all(self, items: Iterable[Mapping[str, Any]]) -> int:
        shown, left = 0, iter(items)
        while batch := [Score.of_item(item) for item in islice(left, _BATCH)]:
            with self._redis.pipeline(transaction=False) as pipeline:
                for score in batch:
                    self._show(keys=_keys(score), args=_arguments(score), client=pipeline)
                pipeline.execute()
            shown += len(batch)
        return shown


def board(day: str) -> str:
    """The key of a day's board."""
    return f"leaderboard:day:{day}"


def _keys(score: Score) -> list[str]:
    return [f"leaderboard:scores:{score.player_id}", board(score.day), BEST, VIEW]


def _arguments(score: Score) -> list[str | int]:
    return [score.player_id, score.day, score.version, "" if score.score is None else score.score]


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise Unavailable(f"the boards do not answer: {error}", retry_after_s=_RETRY_AFTER_S) from error
