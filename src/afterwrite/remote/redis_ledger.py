"""The ledger in Redis: one hash a message, read and written in scripts, so that no two begin it at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from afterwrite.core.ports import Begun, Completed, InProgress, Record
from afterwrite.errors import StorageError

# A record in progress outlives its lease by this, so that the count of its attempts does.
_OPEN_MS: Final = 7 * 86_400_000

_BEGIN: Final = """
local found = redis.call('HMGET', KEYS[1], 'done', 'result', 'lease_until_ms')
if found[1] then return {'done', found[2] or 'null'} end
if found[3] and tonumber(found[3]) > tonumber(ARGV[1]) then return {'in progress', found[3]} end
local attempts = redis.call('HINCRBY', KEYS[1], 'attempts', 1)
redis.call('HSET', KEYS[1], 'lease_until_ms', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'begun', attempts}
"""
_FAIL: Final = """
if redis.call('HGET', KEYS[1], 'lease_until_ms') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'lease_until_ms')
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
"""
_PART: Final = "part:"
_PREFIX: Final = "afterwrite"


class RedisLedger:
    """The Ledger in Redis. It is as durable as Redis is told to be; expiry is Redis's own."""

    def __init__(self, client: Any, *, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._now_ms = now_ms
        self._begin = client.register_script(_BEGIN)
        self._fail = client.register_script(_FAIL)

    @classmethod
    def from_url(cls, url: str, *, now_ms: Callable[[], int]) -> RedisLedger:
        """The ledger at a `redis://`, `rediss://` or `unix://` URL."""
        import redis

        return cls(redis.Redis.from_url(url), now_ms=now_ms)

    def begin(self, consumer: str, message_id: str, *, lease_ms: int) -> Begun | InProgress | Completed:
        """Begin a message, for `lease_ms`."""
        now_ms = self._now_ms()
        until_ms = now_ms + lease_ms
        with self._errors():
            state, value = self._begin(
                keys=[self._key(consumer, message_id)], args=[now_ms, until_ms, lease_ms + _OPEN_MS]
            )
        if state == b"done":
            return Completed(value)
        return InProgress(int(value)) if state == b"in progress" else Begun(int(value), until_ms)

    def complete(self, consumer: str, message_id: str, *, keep_ms: int, result: bytes = b"null") -> None:
        """Record that a message is done, with its result (JSON text), for `keep_ms`."""
        with self._errors():
            self._complete(self._client.pipeline(), consumer, message_id, keep_ms, result).execute()

    def fail(self, consumer: str, message_id: str, begun: Begun, *, keep_ms: int) -> None:
        """End an attempt without a result, so that another may begin at once; the count of attempts is kept."""
        with self._errors():
            self._fail(keys=[self._key(consumer, message_id)], args=[begun.lease_until_ms, keep_ms])

    def look(self, consumer: str, message_ids: Collection[str]) -> Mapping[str, Record]:
        """The records of many messages; those without one are left out."""
        ids = list(dict.fromkeys(message_ids))
        pipeline = self._client.pipeline(transaction=False)
        for message_id in ids:
            pipeline.hgetall(self._key(consumer, message_id))
        with self._errors():
            found = pipeline.execute()
        return {message_id: _record(fields) for message_id, fields in zip(ids, found, strict=True) if fields}

    def complete_all(self, consumer: str, message_ids: Collection[str], *, keep_ms: int) -> None:
        """Record that many messages are done."""
        pipeline = self._client.pipeline()
        for message_id in message_ids:
            self._complete(pipeline, consumer, message_id, keep_ms, b"null")
        with self._errors():
            pipeline.execute()

    def note(self, consumer: str, message_id: str, *, failures: int, parts: Collection[str], keep_ms: int) -> int:
        """Add failures to a message's count, and parts to those that were done; how many failures it is now."""
        key = self._key(consumer, message_id)
        pipeline = self._client.pipeline()
        pipeline.hincrby(key, "failures", failures)
        if parts:
            pipeline.hset(key, mapping={f"{_PART}{part}": 1 for part in parts})
        pipeline.pexpire(key, keep_ms)
        with self._errors():
            return int(pipeline.execute()[0])

    def _complete(self, pipeline: Any, consumer: str, message_id: str, keep_ms: int, result: bytes) -> Any:
        key = self._key(consumer, message_id)
        pipeline.hset(key, mapping={"done": 1, "result": result})
        pipeline.hdel(key, "lease_until_ms")
        pipeline.pexpire(key, keep_ms)
        return pipeline

    def _key(self, consumer: str, message_id: str) -> str:
        return f"{_PREFIX}/{consumer}/{message_id}"

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import redis

        try:
            yield
        except redis.RedisError as error:
            raise StorageError(f"the ledger in Redis did not answer: {error}: see that it can be reached") from error


def _record(fields: Mapping[bytes, bytes]) -> Record:
    return Record(
        done=b"done" in fields,
        failures=int(fields.get(b"failures", 0)),
        parts=frozenset(name.decode().removeprefix(_PART) for name in fields if name.startswith(_PART.encode())),
    )
