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
from afterwrite.server.placing import Placing
from afterwrite.store.environment import WriteTransaction
from afterwrite.store.prepared import Prepared, Read, Write, unknown_operation
from afterwrite.table import fields

_RECORD_BYTES_MAX: Final = 1_000 << 10
_BATCH_BYTES_MAX: Final = 4 << 20
_RECORDS_MAX: Final = 500

Body = dict[str, Any]


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
        if name == "PutRecord":
            return self._put_record(body)
        if name == "PutRecordBatch":
            return self._put_record_batch(body)
        if name == "ListDeliveryStreams":
            return Read(lambda *_: {"DeliveryStreamNames": self._streams, "HasMoreDeliveryStreams": False})
        raise unknown_operation(name)

    def _put_record(self, body: Body) -> Write:
        stream, record = self._stream(body), fields.structure(body, "Record", "Record")
        if record is None:
            raise fields.missing("Record")
        record_id, placements = self._placed(stream, _data(record))

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, placements)
            return {"RecordId": record_id, "Encrypted": False}

        return Write(run)

    def _put_record_batch(self, body: Body) -> Write:
        stream, given = self._stream(body), fields.structures(body, "Records", "Record")
        if given is None:
            raise fields.missing("Records")
        fields.check_length(len(given), "Records", 1, _RECORDS_MAX, f"[{len(given)} records]")
        data = [_data(each) for each in given]
        if sum(map(len, data)) > _BATCH_BYTES_MAX:
            raise ServiceError("InvalidArgumentException", "Records size exceeds 4 MB limit")
        placed = [self._placed(stream, each) for each in data]

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            self._placing.put(transaction, [each for _, placements in placed for each in placements])
            responses = [{"RecordId": record_id} for record_id, _ in placed]
            return {"FailedPutCount": 0, "Encrypted": False, "RequestResponses": responses}

        return Write(run)

    def _stream(self, body: Body) -> str:
        name = fields.text(body, "DeliveryStreamName")
        if name is None:
            raise fields.missing("DeliveryStreamName")
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
    data = fields.text(record, "Data")
    if data is None:
        raise fields.missing("Data")
    try:
        found = binascii.a2b_base64(data, strict_mode=True) if data else b""
    except (binascii.Error, ValueError):
        raise ServiceError("SerializationException", "Data is no base64 text") from None
    fields.check_length(len(found), "Data", 0, _RECORD_BYTES_MAX, f"a blob of {len(found)} bytes")
    return found
