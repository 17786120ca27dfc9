"""OpenSearch: an index whose documents are never older than they were (S36).

Documents are written by `_bulk` with external versions: one that comes twice or late is refused as a conflict, which is
success. A document that is deleted leaves its version behind, which searches do not find, until no change can be late
any more; OpenSearch's own marks of deletion last a minute (`index.gc_deletes`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits, requests
from afterwrite.core.effects import Index, StampedEffect
from afterwrite.core.failure_kinds import Kind
from afterwrite.core.search import Hit
from afterwrite.core.sending import fail
from afterwrite.core.target_failures import TargetFailure, kind_of_code
from afterwrite.core.versions import TOMBSTONE_MS, as_int64, check_version
from afterwrite.targets.remote_target import RemoteTarget

DELETED: Final = "afterwrite_deleted_at_ms"
"""The one field of what a deleted document leaves behind: when it was deleted."""
_PURGE_EVERY_MS: Final = 3_600_000
_ID_BYTES_MAX: Final = 512
_ANSWER_S_MAX: Final = 10
_CONFLICT: Final = "version_conflict_engine_exception"
_KINDS: Final[Mapping[str, Kind]] = {
    # A disk that is nearly full makes an index read-only; OpenSearch lifts that by itself.
    "cluster_block_exception": "unavailable",
    "circuit_breaking_exception": "throttled",
    "es_rejected_execution_exception": "throttled",
    "rejected_execution_exception": "throttled",
    "security_exception": "permission",
}


class OpenSearchIndex(RemoteTarget):
    """The index `index` at `url` (`https://user:password@host:port`), made by its first document.

    Without a user in the URL, requests to a domain of AWS's are signed with the process's credentials. `fields` are
    searched, all of them where none is given. Of an item's changes at one time the one that arrives last stays.
    """

    service: ClassVar[str] = "opensearch"
    limits: ClassVar[Limits] = Limits(entries=1_000, request_bytes=5 << 20, entry_bytes=9 << 20)
    actions: ClassVar[tuple[str, ...]] = ("es:ESHttpPost",)
    is_whole: ClassVar[bool] = True

    def __init__(
        self, name: str, url: str, index: str, *, now_ms: Callable[[], int], fields: Sequence[str] = ()
    ) -> None:
        super().__init__(name, self._connected)
        self._url = url
        self._index = index.lower()
        self._now_ms = now_ms
        self._fields = list(fields)
        self._opensearch: Any = None
        self._purged_ms = now_ms()

    def close(self) -> None:
        """Close the connections."""
        if self._opensearch is not None:
            self._opensearch.close()

    def entry(self, stamped: StampedEffect) -> Entry:
        """The two lines of a bulk request. Raises InvalidValue for a version that is none."""
        effect: Any = stamped.effect
        check_version(effect.version, f"{effect.id} in {self.name}")
        document = {DELETED: stamped.at_ms} if effect.document is None else effect.document
        action = {
            "index": {
                "_id": document_id(effect.id),
                "version": as_int64(effect.version, stamped.at_ms),
                "version_type": "external_gte",
            }
        }
        lines = json_text.dumps(action) + b"\n" + json_text.dumps(document) + b"\n"
        return Entry(stamped.id, stamped.lane, lines, len(lines))

    def erase(self, documents: Sequence[Index], *, at_ms: int) -> Sequence[TargetFailure | None]:
        """Take documents out; why each is still there, None for one that is not. Raises InvalidValue.

        Each leaves its version behind. One of which the index holds a later version stays, which is a failure here.
        """
        failures: list[TargetFailure | None] = []
        entries = [self.entry(StampedEffect("", "", at_ms, each)) for each in documents]
        for request in requests(entries, self.limits):
            failures += self._bulk(request, is_erasure=True)
        return failures

    def search(self, words: str, *, limit: int = 10) -> Sequence[Hit]:
        """The documents that hold all words, the best first. Raises Unavailable, Throttled and Rejected."""
        query: dict[str, Any] = {"query": words, "default_operator": "and"}
        if self._fields:
            query["fields"] = self._fields
        body = {
            "size": limit,
            "query": {
                "bool": {
                    "must": [{"simple_query_string": query}],
                    "must_not": [{"exists": {"field": DELETED}}],
                }
            },
        }
        from opensearchpy.exceptions import OpenSearchException

        try:
            answer = self._client().search(index=self._index, body=body)
        except OpenSearchException as error:
            fail(self._failure(error))
        return [Hit(hit["_id"], hit["_score"], hit["_source"]) for hit in answer["hits"]["hits"]]

    def purge(self) -> None:
        """Remove what was deleted so long ago that no change can be late; it is done in the background."""
        self._purged_ms = self._now_ms()
        oldest = {"range": {DELETED: {"lt": self._purged_ms - TOMBSTONE_MS}}}
        self._client().delete_by_query(
            index=self._index,
            body={"query": oldest},
            params={"conflicts": "proceed", "wait_for_completion": "false"},
        )

    def _send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        too_large = next((entry for entry in entries if entry.size_bytes > self.limits.entry_bytes), None)
        if too_large is not None:
            message = f"expected at most {self.limits.entry_bytes} bytes, got {too_large.size_bytes}"
            return [TargetFailure(self.name, "rejected", "EntryTooLarge", message)] * len(entries)
        return self._bulk(entries)

    def _bulk(self, entries: Sequence[Entry], *, is_erasure: bool = False) -> Sequence[TargetFailure | None]:
        from opensearchpy.exceptions import OpenSearchException

        try:
            client = self._client()
            answer = client.bulk(index=self._index, body=b"".join(entry.body for entry in entries).decode())
            if self._now_ms() - self._purged_ms >= _PURGE_EVERY_MS:
                self.purge()
        except OpenSearchException as error:
            return [self._failure(error)] * len(entries)
        items = answer.get("items") or []
        if len(items) != len(entries):
            message = f"expected an answer about {len(entries)} documents, got {len(items)}"
            return [TargetFailure(self.name, "unavailable", "AnswerNotWhole", message)] * len(entries)
        return [self._failure_of_item(item["index"], is_erasure=is_erasure) for item in items]

    def _failure_of_item(self, item: Mapping[str, Any], *, is_erasure: bool) -> TargetFailure | None:
        error = item.get("error")
        if error is None:
            return None
        # A later version is there: what this one says is over, unless it says that nothing is to stay.
        if item["status"] == 409 and error["type"] == _CONFLICT and not is_erasure:
            return None
        return self._failed(str(error["type"]), str(error.get("reason") or ""), int(item["status"]))

    def _failure(self, error: Any) -> TargetFailure:
        """The failure in an error of the client's, which is about the whole request."""
        from opensearchpy.exceptions import TransportError

        status = error.status_code if isinstance(error, TransportError) else None
        if not isinstance(status, int):
            return TargetFailure(self.name, "unavailable", type(error).__name__, str(error))
        return self._failed(str(error.error), str(error), status)

    def _failed(self, code: str, message: str, status: int) -> TargetFailure:
        kind = _KINDS.get(code) or kind_of_code(code, status=status)
        return TargetFailure(self.name, kind, code, message)

    def _connected(self) -> Any:
        if self._opensearch is None:
            from opensearchpy import OpenSearch, Urllib3HttpConnection

            self._opensearch = OpenSearch(
                hosts=[self._url],
                http_auth=_signer(self._url),
                connection_class=Urllib3HttpConnection,
                timeout=_ANSWER_S_MAX,
                # What is sent again is decided by whoever sends, who knows what came back for each document.
                max_retries=0,
            )
        return self._opensearch


def document_id(id: str) -> str:
    """The id as OpenSearch can hold it: itself, or a digest of one that is too long."""
    return id if len(id.encode()) <= _ID_BYTES_MAX else hashlib.sha256(id.encode()).hexdigest()


def _signer(url: str) -> Any:
    """What signs requests to a domain of AWS's; None where the URL has a user, or is no such domain's."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.username is not None or not host.endswith(".amazonaws.com"):
        return None
    import boto3
    from opensearchpy import Urllib3AWSV4SignerAuth

    region, service = host.split(".")[-4:-2]
    return Urllib3AWSV4SignerAuth(boto3.Session().get_credentials(), region, service)
