"""CloudWatch: structured log lines, and metrics in the embedded metric format, on a stream that CloudWatch reads.

On Lambda that is standard output: a line of JSON is a log event, and one that has an `_aws` member is metrics too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TextIO, TypeAlias

from afterwrite.core import json_text
from afterwrite.core.target_failures import TargetFailure
from afterwrite.core.times import iso_milliseconds

Level: TypeAlias = Literal["INFO", "WARN", "ERROR"]

NAMESPACE: Final = "afterwrite"


class CloudWatchLog:
    """Log lines and metrics of one app. No content of an item appears in them.

    Lanes, which are named by items' keys, are shown as digests, unless `keys` says that keys may appear. What an
    exception or a service says may quote an item, so of those the kind and the code are shown, not the words.
    """

    def __init__(self, app: str, out: TextIO, *, now_ms: Callable[[], int], keys: bool = False) -> None:
        self._app = app
        self._out = out
        self._now_ms = now_ms
        self._keys = keys

    def lane_parked(self, consumer: str, lane: str, reason: str) -> None:
        """A change failed for good; its lane waits."""
        shown: dict[str, Any] = {"reason": reason} if self._keys else {}
        self.line("ERROR", "lane parked", table=consumer, lane=self.shown(lane), **shown)

    def effect_failed(self, consumer: str, lane: str, failure: TargetFailure) -> None:
        """A target did not perform an effect, after every attempt of this delivery."""
        self.line(
            "WARN",
            "effect failed",
            table=consumer,
            lane=self.shown(lane),
            target=failure.target,
            kind=failure.kind,
            code=failure.code,
            remedy=failure.directive.remedy,
        )

    def invocation_failed(self, function: str, message_id: str, attempt: int, error: BaseException) -> None:
        """An attempt of a function failed."""
        self.line(
            "ERROR",
            "invocation failed",
            function=function,
            message_id=message_id,
            attempt=attempt,
            error=type(error).__name__,
            **({"message": str(error)} if self._keys else {}),
        )

    def batch_failed(self, consumer: str, error: BaseException) -> None:
        """A batch could not be run, and all of it is delivered again."""
        self.line("ERROR", "batch failed", table=consumer, error=type(error).__name__)

    def record_unreadable(self, item_id: str) -> None:
        """A record holds no change of a table; it is delivered again until the mapping gives it up."""
        self.line("ERROR", "record cannot be read", record=item_id)

    def metrics(self, dimensions: Mapping[str, str], counts: Mapping[str, int], **fields: Any) -> None:
        """Counts as metrics of the namespace `afterwrite`, with the app among the dimensions."""
        named = {"App": self._app, **dimensions}
        directive = {
            "Timestamp": self._now_ms(),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [list(named)],
                    "Metrics": [{"Name": name, "Unit": "Count"} for name in counts],
                }
            ],
        }
        self._write({"_aws": directive, **named, **counts, **fields})

    def line(self, level: Level, event: str, **fields: Any) -> None:
        """One log event."""
        at = iso_milliseconds(self._now_ms())
        self._write({"timestamp": at, "level": level, "app": self._app, "event": event, **fields})

    def shown(self, key: str) -> str:
        """A key as it may appear: itself, or a digest by which lines about one key are found."""
        return key if self._keys else hashlib.blake2b(key.encode(), digest_size=8).hexdigest()

    def _write(self, fields: Mapping[str, Any]) -> None:
        self._out.write(json_text.dumps(fields).decode() + "\n")
        self._out.flush()
