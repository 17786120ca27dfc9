"""S3: an audit log as objects that nobody can change before their time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import StampedEffect
from afterwrite.core.times import iso_milliseconds
from afterwrite.core.uuids import uuid_of
from afterwrite.targets.remote_target import EntryError, RemoteTarget, error_parts


class S3AuditLog(RemoteTarget):
    """An audit log in a bucket with Object Lock: one object an entry, in compliance mode for `retain_days`.

    The object's key is made from the effect's id, and an object that is there is not written again (If-None-Match),
    so an entry that is sent twice is kept once. Without `retain_days` the bucket's own default retention holds.
    """

    service: ClassVar[str] = "s3"
    limits: ClassVar[Limits] = Limits(entries=1, request_bytes=5 << 30, entry_bytes=5 << 30)
    actions: ClassVar[tuple[str, ...]] = ("s3:PutObject", "s3:PutObjectRetention")
    keeps_order: ClassVar[bool] = False

    def __init__(self, name: str, client: Callable[[], Any], bucket: str, *, log: str, retain_days: int | None) -> None:
        super().__init__(name, client)
        self._bucket = bucket
        self._log = log
        self._retain_days = retain_days

    def entry(self, stamped: StampedEffect) -> Entry:
        """The object: the entry with the effect's id and the change's time, under `<log>/dt=<day>/<digest>.json`."""
        effect: Any = stamped.effect
        at = datetime.fromtimestamp(stamped.at_ms / 1000, UTC)
        text = json_text.dumps({"id": stamped.id, "at": iso_milliseconds(stamped.at_ms), "entry": effect.entry})
        body = {
            "Key": f"{self._log}/dt={at:%Y-%m-%d}/{uuid_of(stamped.id)}.json",
            "Body": text,
            "ContentType": "application/json",
        }
        return Entry(stamped.id, stamped.lane, body, len(text))

    def _request(self, client: Any, entries: Sequence[Entry]) -> Sequence[EntryError | None]:
        from botocore.exceptions import ClientError

        for entry in entries:
            try:
                client.put_object(Bucket=self._bucket, IfNoneMatch="*", **entry.body, **self._lock())
            except ClientError as error:
                # The object is there: an earlier attempt's answer was lost.
                if error_parts(error)[0] != "PreconditionFailed":
                    raise
        return [None] * len(entries)

    def _lock(self) -> dict[str, Any]:
        if self._retain_days is None:
            return {}
        # Counted from the change, it may have ended for one that was parked, and S3 takes no lock that has.
        until = datetime.now(UTC) + timedelta(days=self._retain_days)
        return {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
