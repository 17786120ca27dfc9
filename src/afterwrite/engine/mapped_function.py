"""A Lambda function that is mapped to a stream, called with records as Lambda calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from afterwrite.core.event_source_mapping.declaration import EventSourceMapping
from afterwrite.core.event_source_mapping.failures import MappingIdentity
from afterwrite.core.event_source_mapping.records import PAYLOAD_BYTES_MAX, Record, WindowInvocation, event_text
from afterwrite.core.invocations import LambdaContext
from afterwrite.core.ports import Services


@dataclass(frozen=True, slots=True)
class MappedFunction:
    """The function of a mapping. `now_ms` is the store's clock, `monotonic_s` that of its deadline."""

    mapping: EventSourceMapping
    identity: MappingIdentity
    services: Services
    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]

    def call(
        self, records: Sequence[Record], window: WindowInvocation | None, *, shard_id: str, request_id: str
    ) -> Callable[[], Any]:
        """An invocation with the records, whose deadline is counted from now: it returns what the function does."""
        mapping, monotonic_s = self.mapping, self.monotonic_s
        text = event_text(records, window, shard_id=shard_id, source_arn=self.identity.stream_arn)
        deadline_s = monotonic_s() + mapping.timeout_s
        context = LambdaContext(
            self.services,
            function_name=mapping.function_name,
            function_arn=self.identity.function_arn,
            request_id=request_id,
            remaining_ms=lambda: int((deadline_s - monotonic_s()) * 1000),
            now_ms=self.now_ms,
        )

        def call() -> Any:
            # As Lambda's runtime does it: what is no JSON, or too much of it, is an error of the function.
            response = json.dumps(mapping.handler(orjson.loads(text), context))
            if len(response) > PAYLOAD_BYTES_MAX:
                raise ValueError(f"expected a response of at most {PAYLOAD_BYTES_MAX} bytes, got {len(response)}")
            return json.loads(response)

        return call
