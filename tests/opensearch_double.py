"""A double of OpenSearch, strict about what the target may rely on: versions, conflicts, item errors, refresh.

It refuses what OpenSearch refuses, in its words: bodies that do not end in a line, versions outside 64 bits, ids of
more than 512 bytes, a field that changes its kind, queries that it does not know. What is written is found after a
refresh; a deleted document's version is kept for `gc_deletes_ms` on the clock `now_ms`.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from served import served

INT64_MAX = 2**63 - 1
ID_BYTES_MAX = 512


class Refused(Exception):
    """A request as a whole is refused."""

    def __init__(self, status: int, type: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.type, self.reason = status, type, reason


@dataclass
class Document:
    version: int
    source: dict[str, Any] | None
    deleted_ms: int = 0


@dataclass
class OpenSearchDouble:
    """`fail_items` gives the status and type with which the next item of an id fails; `refuse` the next request's."""

    now_ms: Callable[[], int] = lambda: 0
    gc_deletes_ms: int = 60_000
    fail_items: dict[str, tuple[int, str]] = field(default_factory=dict)
    refuse: list[Refused] = field(default_factory=list)
    requests: list[tuple[str, str, bytes, dict[str, str]]] = field(default_factory=list)
    indexes: dict[str, dict[str, Document]] = field(default_factory=dict)
    searchable: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    kinds: dict[tuple[str, str], str] = field(default_factory=dict)
    url: str = ""
    lock: Any = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
        with self.lock:
            self.requests.append((method, path, body, headers))
            try:
                if self.refuse:
                    raise self.refuse.pop(0)
                found = re.fullmatch(r"/([a-z0-9][a-z0-9._-]*)/_(bulk|search|delete_by_query|refresh)(\?.*)?", path)
                if method != "POST" or found is None:
                    raise Refused(400, "illegal_argument_exception", f"no handler for {method} {path}")
                index, operation = found[1], found[2]
                if operation == "bulk":
                    return 200, self.bulk(index, body)
                if index not in self.indexes:
                    raise Refused(404, "index_not_found_exception", f"no such index [{index}]")
                if operation == "refresh":
                    held = self.indexes[index].items()
                    self.searchable[index] = {id: each.source for id, each in held if each.source is not None}
                    return 200, {"_shards": {"failed": 0}}
                parsed = json.loads(body)
                if operation == "search":
                    return 200, self.search(index, parsed)
                return 200, self.delete_by_query(index, parsed)
            except Refused as refused:
                error = {"type": refused.type, "reason": refused.reason}
                return refused.status, {"error": {**error, "root_cause": [error]}, "status": refused.status}

    def bulk(self, index: str, body: bytes) -> dict[str, Any]:
        if not body.endswith(b"\n"):
            raise Refused(400, "illegal_argument_exception", "The bulk request must be terminated by a newline [\\n]")
        lines = iter(body.split(b"\n")[:-1])
        items = []
        for line in lines:
            ((operation, action),) = json.loads(line).items()
            unknown = action.keys() - {"_id", "version", "version_type"}
            if operation not in ("index", "delete") or unknown:
                raise Refused(400, "illegal_argument_exception", f"Malformed action line: {operation} {unknown}")
            source = json.loads(next(lines)) if operation == "index" else None
            items.append({operation: self.write(index, action, source)})
        return {"took": 1, "errors": any("error" in item[op] for item in items for op in item), "items": items}

    def write(self, index: str, action: dict[str, Any], source: dict[str, Any] | None) -> dict[str, Any]:
        id, version, kind = action["_id"], action.get("version"), action.get("version_type")
        if len(id.encode()) > ID_BYTES_MAX:
            raise Refused(400, "action_request_validation_exception", f"id is too long, got [{len(id.encode())}] bytes")
        if type(version) is not int or not 0 <= version <= INT64_MAX or kind not in ("external", "external_gte"):
            raise Refused(400, "action_request_validation_exception", f"illegal version value [{version}] for [{kind}]")
        documents = self.indexes.setdefault(index, {})
        answer: dict[str, Any] = {"_index": index, "_id": id, "status": 200}

        def failed(status: int, type: str, reason: str) -> dict[str, Any]:
            return {**answer, "status": status, "error": {"type": type, "reason": reason}}

        if id in self.fail_items:
            status, error = self.fail_items.pop(id)
            return failed(status, error, "as the test wants it")
        held = documents.get(id)
        if held is not None and held.source is None and self.now_ms() - held.deleted_ms > self.gc_deletes_ms:
            held = None
        if held is not None and (version < held.version or (version == held.version and kind == "external")):
            reason = f"[{id}]: version conflict, current version [{held.version}] is higher than the one provided"
            return failed(409, "version_conflict_engine_exception", reason)
        for name, value in (source or {}).items():
            given = "object" if isinstance(value, dict) else "text" if isinstance(value, str) else "number"
            if self.kinds.setdefault((index, name), given) != given and "object" in (given, self.kinds[index, name]):
                return failed(400, "mapper_parsing_exception", f"failed to parse field [{name}]")
        documents[id] = Document(version, source, self.now_ms())
        return {**answer, "_version": version, "result": "created" if held is None else "updated"}

    def search(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        (match,), (without,) = body["query"]["bool"]["must"], body["query"]["bool"]["must_not"]
        query = match["simple_query_string"]
        if query.keys() - {"query", "fields", "default_operator"} or query["default_operator"] != "and":
            raise Refused(400, "parsing_exception", f"this double does not know {query}")
        hidden = without["exists"]["field"]
        terms = [phrase or word for phrase, word in re.findall(r'"([^"]*)"|(\S+)', query["query"])]
        hits = []
        for id, source in self.searchable.get(index, {}).items():
            fields = query.get("fields") or list(source)
            text = " ".join(str(source[name]) for name in fields if name in source).lower()
            if hidden not in source and all(self.holds(text, term.lower()) for term in terms):
                hits.append({"_index": index, "_id": id, "_score": 1.0, "_source": source})
        return {"hits": {"total": {"value": len(hits)}, "hits": hits[: body["size"]]}}

    @staticmethod
    def holds(text: str, term: str) -> bool:
        words = re.escape(term.strip("*:?!,.")).replace(r"\ ", r"\W+")
        return re.search(rf"\b{words}{'' if term.endswith('*') else chr(92) + 'b'}", text) is not None

    def delete_by_query(self, index: str, body: dict[str, Any]) -> dict[str, Any]:
        ((name, bounds),) = body["query"]["range"].items()
        found = [
            id for id, source in self.searchable.get(index, {}).items() if source.get(name, INT64_MAX) < bounds["lt"]
        ]
        for id in found:
            del self.indexes[index][id], self.searchable[index][id]
        return {"deleted": len(found), "version_conflicts": 0}


@contextmanager
def serving(double: OpenSearchDouble) -> Iterator[OpenSearchDouble]:
    """The double behind a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = double.answer("POST", self.path, body, {k.lower(): v for k, v in self.headers.items()})
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    with served(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        double.url = f"http://127.0.0.1:{server.server_port}"
        yield double
