"""A client of DynamoDB that loses an answer."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ConnectionClosedError


class LosingClient:
    """Carries transactions out by `client`, and loses the first answer; `lost` are the requests without one."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.lost: list[Any] = []

    def transact_write_items(self, **request: Any) -> Any:
        answer = self._client.transact_write_items(**request)
        if not self.lost:
            self.lost.append(request)
            raise ConnectionClosedError(endpoint_url="http://lost")
        return answer
