"""Asking the running engine over its wire protocol, found through its data directory and signed where it must be."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from afterwrite.config import Settings
from afterwrite.errors import CommandError, ServiceError
from afterwrite.server import sigv4
from afterwrite.server.http_messages import Request
from afterwrite.store.data_directory import DataDirectory

_TIMEOUT_S: Final = 30.0
_UNSIGNED: Final = "MissingAuthenticationTokenException"


class EngineClient:
    """A service of the engine that runs on the settings' data directory.

    `target` is the service's name in requests, `service` in signatures; `hint` is what to say if it does not answer.
    """

    def __init__(self, settings: Settings, *, target: str, service: str, hint: str = "") -> None:
        data = settings.data
        holder = DataDirectory(data).holder()
        if holder is None:
            raise CommandError(
                f"expected a running engine on {data}, found none: start it with afterwrite run APP --data {data}"
            )
        if "listening" not in holder:
            raise CommandError(
                f"the engine on {data} listens on no socket: start it with an address to listen on"
                if "pid" in holder
                else f"the engine on {data} is starting: try again in a moment"
            )
        self._address: str = holder["listening"]
        self._target = target
        self._service = service
        self._hint = hint
        self._region = settings.identity.region
        self._credentials = settings.credentials

    def call(self, operation: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's body. Raises ServiceError as the engine answers it, CommandError if it does not answer."""
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        request = self._request(f"{self._target}.{operation}", orjson.dumps(body))
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers.items()}
        try:
            connection.request("POST", "/", request.body, headers)
            response = connection.getresponse()
            answer: dict[str, Any] = orjson.loads(response.read())
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError) as error:
            raise CommandError(f"the engine on {self._address} does not answer ({error}){self._hint}") from None
        finally:
            connection.close()
        if response.status != http.client.OK:
            code = str(answer.get("__type", "")).rpartition("#")[2]
            if code == _UNSIGNED:
                raise CommandError(
                    f"the engine on {self._address} takes signed requests only: give the file of its access keys with "
                    "--credentials or AFTERWRITE_CREDENTIALS"
                )
            raise ServiceError(code, str(answer.get("message", "")), status=response.status)
        return answer

    def _request(self, target: str, body: bytes) -> Request:
        """The request for an operation, signed where there are credentials."""
        headers = {"host": self._address, "x-amz-target": target, "content-type": "application/x-amz-json-1.1"}
        request = Request(
            b"POST", b"/", {name.encode(): value.encode("latin-1") for name, value in headers.items()}, body, body
        )
        if self._credentials is None:
            return request
        key_id, secret = next(iter(self._credentials.items()))
        return sigv4.signed(request, key_id, secret, region=self._region, service=self._service, now_s=time.time())
