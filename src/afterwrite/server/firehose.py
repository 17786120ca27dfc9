"""Firehose on the wire: records put into the app's delivery streams.

A record is a JSON text, which becomes a row of the lake; one that is no JSON the lake keeps beside its files.
"""

from __future__ import annotations

import binascii
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from afterwrite.config import Identity
from afterwrite.core.effects import Deliver, StampedEffect
from afterwrite.core.placements import Placement, ToBuffer
from afterwrite.errors import ServiceError
from afterwrite.server import constraints
from afterwrite.server.constraints import Blob, Member, Number, Records, Structure, Text
from afterwrite.server.placing import Placing
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.prepared import Prepared, Read, Write, unknown_operation
from afterwrite.table import fields

_RECORD_BYTES_MAX: Final = 1_000 << 10
_BATCH_BYTES_MAX: Final = 4 << 20
_RECORDS_MAX: Final = 500

_LISTED: Final = 10
_LISTED_MAX: Final = 10_000
_DIRECT: Final = "DirectPut"

Body = dict[str, Any]

_NAME_PATTERN: Final = "[a-zA-Z0-9_.-]+"
_NAME_LENGTH: Final = (1, 64)
_STREAM: Final = Text(required=True, pattern=_NAME_PATTERN, length=_NAME_LENGTH)
_RECORD: Final[Mapping[str, Member]] = {"Data": Blob(_RECORD_BYTES_MAX)}
_MEMBERS: Final[Mapping[str, Mapping[str, Member]]] = {
    "PutRecord": {"DeliveryStreamName": _STREAM, "Record": Structure(_RECORD, required=True)},
    "PutRecordBatch": {"DeliveryStreamName": _STREAM, "Records": Records("Record", _RECORD, _RECORDS_MAX)},
    "ListDeliveryStreams": {
        "Limit": Number((1, _LISTED_MAX)),
        "DeliveryStreamType": Text(allowed=(_DIRECT, "KinesisStreamAsSource", "MSKAsSource", "DatabaseAsSource")),
        "ExclusiveStartDeliveryStreamName": Text(pattern=_NAME_PATTERN, length=_NAME_LENGTH),
    },
}


class FirehoseService:
    """Firehose_20150804. `now_ms` is the engine's clock."""

    target = "Firehose_20150804"
    error_prefix = ""
    content_type = "application/x-amz-json-1.1"

    def __init__(
        self, streams: Collection[str], placing: Placing, identity: Identity, now_ms: Callable[[], int]
    ) -> None:
        self._streams = sorted(streams)
        self._placing = placing
        self._account_id = identity.account_id
        self._now_ms = now_ms

    def prepare(self, name: str, body: Body) -> Prepared:
        """The operation `name` with its body, validated. Raises ServiceError."""
        constraints.check(_MEMBERS.get(name, {}), body)
        if name == "PutRecord":
            return self._put_record(body)
        if name == "PutRecordBatch":
            return self._put_record_batch(body)
        if name == "ListDeliveryStreams":
            page = self._page(body)
            return Read(lambda *_: page)
        raise unknown_operation(name)

    def _put_record(self, body: Body) -> Write:
        record_id, placements = self._placed(self._stream(body), _data(body["Record"]))

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, placements)
            return {"RecordId": record_id, "Encrypted": False}

        return Write(run)

    def _put_record_batch(self, body: Body) -> Write:
        stream, data = self._stream(body), [_data(each) for each in body["Records"]]
        if sum(map(len, data)) > _BATCH_BYTES_MAX:
            raise ServiceError("InvalidArgumentException", "Records size exceeds 4 MB limit")
        placed = [self._placed(stream, each) for each in data]

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, [each for _, placements in placed for each in placements])
            responses = [{"RecordId": record_id} for record_id, _ in placed]
            return {"FailedPutCount": 0, "Encrypted": False, "RequestResponses": responses}

        return Write(run)

    def _page(self, body: Body) -> Mapping[str, Any]:
        """Names of delivery streams. Each of the app's is put to by its clients."""
        limit = fields.integer(body, "Limit") or _LISTED
        start = fields.text(body, "ExclusiveStartDeliveryStreamName") or ""
        kind = fields.text(body, "DeliveryStreamType")
        found = [name for name in self._streams if name > start and kind in (None, _DIRECT)]
        return {"DeliveryStreamNames": found[:limit], "HasMoreDeliveryStreams": len(found) > limit}

    def _stream(self, body: Body) -> str:
        name = str(body["DeliveryStreamName"])
        if name not in self._streams:
            raise ServiceError(
                "ResourceNotFoundException", f"Firehose {name} not found under account {self._account_id}."
            )
        return name

    def _placed(self, stream: str, data: bytes) -> tuple[str, list[Placement]]:
        record_id = str(uuid.uuid4())
        stamped = StampedEffect(record_id, record_id, self._now_ms(), Deliver(stream, {}))
        placed = self._placing.place(stamped)
        return record_id, [each._replace(text=data) for each in placed if isinstance(each, ToBuffer)]


def _data(record: Body) -> bytes:
    return binascii.a2b_base64(record["Data"])
