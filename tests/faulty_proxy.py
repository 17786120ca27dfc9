"""A proxy between a client and a server of AWS's APIs, that makes named faults happen on the way."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, TypeAlias
from urllib.error import HTTPError

import orjson

from bounds import BOUND_S

Fault: TypeAlias = Literal["fails", "refused", "throttled", "unavailable", "answer lost", "hangs"]
"""What happens to an entry (`fails`: the service at fault, `refused`: the sender), or to its whole request."""

# The member of the request that holds the entries, and that of the answer.
_MEMBERS: Final[Mapping[str, tuple[str, str]]] = {
    "AmazonSQS.SendMessageBatch": ("Entries", "Successful"),
    "AWSEvents.PutEvents": ("Entries", "Entries"),
    "Firehose_20150804.PutRecordBatch": ("Records", "RequestResponses"),
    "Kinesis_20131202.PutRecords": ("Records", "Records"),
}
_WHOLE: Final[Mapping[str, tuple[int, str]]] = {
    "throttled": (400, "ThrottlingException"),
    "unavailable": (503, "ServiceUnavailable"),
}


class FaultyProxy:
    """Forwards to `server_url`. `fault_of` is asked for each entry of a batch, as the text of its JSON."""

    def __init__(self, server_url: str) -> None:
        self.fault_of: Callable[[str], Fault | None] = lambda _: None
        self.requests: list[list[str]] = []
        self.released = threading.Event()
        self._server_url = server_url
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = proxy.answer(self.headers.get("X-Amz-Target", ""), dict(self.headers), self.path, body)
                if answer is None:
                    self.close_connection = True
                    return
                status, text = answer
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return Handler

    def answer(self, target: str, headers: Mapping[str, str], path: str, body: bytes) -> tuple[int, bytes] | None:
        """The answer to a request, None for one whose connection ends."""
        if target not in _MEMBERS:
            return self._forward(headers, path, body)
        entries_member, _ = _MEMBERS[target]
        request = orjson.loads(body)
        entries = request[entries_member]
        texts = [orjson.dumps(entry).decode() for entry in entries]
        faults = [self.fault_of(text) for text in texts]
        self.requests.append([text for text, fault in zip(texts, faults, strict=True) if fault is None])
        if "hangs" in faults:
            self.released.wait(BOUND_S)
            return None
        for fault in faults:
            if fault is not None and fault in _WHOLE:
                status, code = _WHOLE[fault]
                return status, orjson.dumps({"__type": code, "message": "on the way"})
        passed = [entry for entry, fault in zip(entries, faults, strict=True) if fault in (None, "answer lost")]
        answer: dict[str, Any] = {}
        if passed:
            status, text = self._forward(headers, path, orjson.dumps({**request, entries_member: passed}))
            if status != 200 or "answer lost" in faults:
                return None if "answer lost" in faults else (status, text)
            answer = orjson.loads(text)
        return 200, orjson.dumps(_with_faults(target, entries, faults, answer))

    def _forward(self, headers: Mapping[str, str], path: str, body: bytes) -> tuple[int, bytes]:
        kept = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
        request = urllib.request.Request(self._server_url + path, body, kept, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=BOUND_S) as answer:
                return answer.status, answer.read()
        except HTTPError as error:
            return error.code, error.read()

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """End, with whatever hangs."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


def _with_faults(
    target: str, entries: list[dict[str, Any]], faults: list[Fault | None], answer: dict[str, Any]
) -> dict[str, Any]:
    """The answer to what was passed on, with results for what was not."""
    _, results_member = _MEMBERS[target]
    if target.startswith("AmazonSQS"):
        failed = [
            {"Id": entry["Id"], "Code": "OnTheWay", "Message": "on the way", "SenderFault": fault == "refused"}
            for entry, fault in zip(entries, faults, strict=True)
            if fault is not None
        ]
        return {**answer, "Successful": answer.get("Successful", []), "Failed": failed}
    passed = iter(answer.get(results_member, []))
    error = {"ErrorCode": "InternalFailure", "ErrorMessage": "on the way"}
    results = [next(passed) if fault is None else error for fault in faults]
    counter = "FailedPutCount" if "Firehose" in target else "FailedRecordCount"
    if "Events" in target:
        counter = "FailedEntryCount"
    return {**answer, results_member: results, counter: sum(fault is not None for fault in faults)}


@contextmanager
def faulty_proxy(server_url: str) -> Iterator[FaultyProxy]:
    """A proxy to a server, until the end of the block."""
    proxy = FaultyProxy(server_url)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
