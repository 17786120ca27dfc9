"""One suite over both search indexes: the embedded one, and OpenSearch's over a strict double.

With OPENSEARCH_URL set, it also runs against the cluster there, in indexes of its own that it deletes.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from afterwrite.core.effects import Index, StampedEffect
from afterwrite.core.target_failures import TargetFailure
from afterwrite.core.versions import TOMBSTONE_MS
from afterwrite.errors import CommandError, InvalidValue, Rejected, StorageError, Unavailable
from afterwrite.local.search_index import EmbeddedIndex, index_file, search
from afterwrite.targets.opensearch import DELETED, OpenSearchIndex
from opensearch_double import OpenSearchDouble, Refused, serving

NOW_MS = 1_790_000_000_000
SEQUENCE = 111_437_100_000_000_025_684_653_890
CLUSTER = os.environ.get("OPENSEARCH_URL")
needs_opensearch = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("opensearchpy") is None, reason="the package opensearch-py is missing"
)


@dataclass
class Subject:
    """An index and what lets a test see what was written."""

    index: Any
    refresh: Callable[[], None]

    def send(self, *effects: Index, at_ms: int = NOW_MS) -> Sequence[TargetFailure | None]:
        entries = [
            self.index.entry(StampedEffect(f"c{n}/r/0", "t/a", at_ms, effect)) for n, effect in enumerate(effects)
        ]
        return self.index.send(entries)  # type: ignore[no-any-return]

    def found(self, words: str) -> set[str]:
        self.refresh()
        return {hit.id for hit in self.index.search(words)}


def put(id: str, text: str | None, version: int | str = SEQUENCE) -> Index:
    return Index("talks", id, str(version), None if text is None else {"text": text})


@pytest.fixture
def double() -> Iterator[OpenSearchDouble]:
    with serving(OpenSearchDouble()) as served:
        yield served


@pytest.fixture(
    params=["embedded", pytest.param("opensearch", marks=needs_opensearch)]
    + ([pytest.param("cluster", marks=needs_opensearch)] if CLUSTER else [])
)
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param == "embedded":
        embedded = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS, fields=["text"])
        embedded.fill(lambda: ())
        yield Subject(embedded, lambda: None)
        embedded.close()
        return
    url = CLUSTER if request.param == "cluster" else request.getfixturevalue("double").url
    name = f"afterwrite-{uuid.uuid4().hex}"
    index = OpenSearchIndex("search_index/talks", str(url), name, now_ms=lambda: NOW_MS, fields=["text"])
    client = index._connected()
    yield Subject(index, lambda: client.indices.refresh(index=name))
    if request.param == "cluster":
        client.indices.delete(index=name, ignore_unavailable=True)
    index.close()


def test_documents_are_found_by_all_of_their_words(subject: Subject) -> None:
    talks = [put("a", "Volume three of One Piece is late"), put("b", "One more piece, please"), put("c", "Naruto")]
    assert subject.send(*talks) == [None] * 3
    assert subject.found("piece one") == {"a", "b"}
    assert subject.found('"one piece"') == {"a"}
    assert subject.found("vol* late") == {"a"}
    assert subject.found("naruto piece") == set()
    (hit,) = subject.index.search("NARUTO")
    assert dict(hit.document) == {"text": "Naruto"}


def test_only_the_declared_fields_are_searched(subject: Subject) -> None:
    document = {"text": "shipping", "session": "s-1", "turn": 3}
    assert subject.send(Index("talks", "a", "5", document)) == [None]
    assert (subject.found("shipping"), subject.found("s-1")) == ({"a"}, set())


def test_late_and_repeated_records_put_nothing_older_back_s36(subject: Subject) -> None:
    assert subject.send(put("a", "new", 7)) == [None]
    assert subject.send(put("a", "old", 6)) == [None], "a later version is there: that is success"
    assert subject.send(put("a", "new", 7)) == [None]
    assert (subject.found("new"), subject.found("old")) == ({"a"}, set())
    assert subject.send(put("a", "newest", 10)) == [None], "10 is later than 7 and than 9, as a number"
    assert subject.send(put("a", "older", 9)) == [None]
    assert (subject.found("newest"), subject.found("new"), subject.found("older")) == ({"a"}, set(), set())


def test_sequence_numbers_of_a_stream_are_versions_s36(subject: Subject) -> None:
    """They do not fit into 64 bits: OpenSearch's are made from the change's time."""
    assert subject.send(put("a", "second", SEQUENCE + 1), at_ms=NOW_MS + 1) == [None]
    assert subject.send(put("a", "first", SEQUENCE), at_ms=NOW_MS) == [None]
    assert subject.found("second") == {"a"}
    assert subject.send(put("a", "third", SEQUENCE + 2), at_ms=NOW_MS + 1) == [None], "at the same time, but after it"
    assert (subject.found("third"), subject.found("second")) == ({"a"}, set())


def test_a_deleted_document_leaves_and_does_not_come_back(subject: Subject) -> None:
    assert (
        subject.send(put("a", "there", 5), put("b", "there", 5), put("a", None, 7), put("a", "there", 6)) == [None] * 4
    )
    assert subject.found("there") == {"b"}
    assert subject.send(put("a", "there again", 8), put("c", None, 3)) == [None] * 2
    assert subject.found("there") == {"a", "b"}


def test_an_id_of_any_length_is_one_document(subject: Subject) -> None:
    key = "ä" * 1_500
    assert subject.send(put(key, "long", 1), put(key, "longer", 2), put(key + "b", "another", 1)) == [None] * 3
    assert (len(subject.found("longer")), len(subject.found("long")), len(subject.found("another"))) == (1, 0, 1)


def test_text_that_would_be_an_operator_is_text(subject: Subject) -> None:
    assert subject.send(put("a", "what about AND or NEAR columns: text")) == [None]
    for words in ("AND NEAR", "columns:", "what?"):
        assert subject.found(words) == {"a"}, words


def test_what_is_no_version_is_refused(subject: Subject) -> None:
    for version in ("1.5", "-1", "007", "", "v2"):
        with pytest.raises(InvalidValue, match="expected the version of a in search_index/talks to be a whole number"):
            subject.send(put("a", "text", version))


# The embedded index alone.


def test_the_embedded_index_is_searched_while_it_is_written_and_after_a_restart(tmp_path: Path) -> None:
    index = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)
    subject = Subject(index, lambda: None)
    subject.send(put("a", "kept"))
    file = index_file(tmp_path, "talks")
    with pytest.raises(Unavailable, match="is being filled from the tables: search again"):
        search(file, "kept")
    index.fill(lambda: ())
    assert [hit.id for hit in search(file, "kept")] == ["a"]
    index.close()
    assert [hit.id for hit in search(file, "kept")] == ["a"]
    again = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)
    Subject(again, lambda: None).send(put("a", "late", SEQUENCE - 1))
    assert [dict(hit.document) for hit in again.search("kept")] == [{"text": "kept"}]
    again.close()
    with pytest.raises(CommandError, match="found none: the engine makes it from the tables"):
        search(tmp_path / "none.sqlite", "kept")
    with pytest.raises(Rejected, match="expected words to search for, got '\\* !'"):
        search(file, "* !")


def test_a_file_that_is_no_index_is_named(tmp_path: Path) -> None:
    index_file(tmp_path, "talks").write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageError, match=r"talks.sqlite cannot be used .* delete the file"):
        EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)


def test_an_embedded_index_is_filled_once_and_changes_win(tmp_path: Path) -> None:
    index = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)
    subject = Subject(index, lambda: None)
    subject.send(put("a", "changed"), put("b", None))
    assert not index.is_whole
    assert index.fill(lambda: [put("a", "read", 0), put("b", "read", 0), put("c", "read", 0)]) == []
    assert index.is_whole
    assert (subject.found("read"), subject.found("changed")) == ({"c"}, {"a"})
    index.close()
    again = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)
    assert again.is_whole
    again.close()


class Released:
    """A lock, and what happens when it is let go for the first time."""

    def __init__(self, first: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._then = [first]

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
        while self._then:
            self._then.pop()()


def test_an_embedded_index_whose_file_goes_when_it_has_been_filled_is_filled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)

    def delete() -> None:
        index_file(tmp_path, "talks").unlink()
        index.look()

    monkeypatch.setattr(index, "_lock", Released(delete))
    assert index.fill(lambda: [put("a", "read", 0)]) == []
    assert not index.is_whole
    assert index.fill(lambda: [put("a", "read", 0)]) == []
    assert [hit.id for hit in index.search("read")] == ["a"]
    index.close()


def test_an_embedded_index_forgets_what_was_deleted_long_ago(tmp_path: Path) -> None:
    clock = [NOW_MS]
    index = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: clock[0])
    subject = Subject(index, lambda: None)
    subject.send(put("a", None, 5))
    clock[0] += TOMBSTONE_MS + 1
    subject.send(put("b", "text", 5))
    subject.send(put("a", "late by a week", 4))
    index.fill(lambda: ())
    assert subject.found("week") == {"a"}
    index.close()


# OpenSearch alone.


@pytest.fixture
def opensearch(double: OpenSearchDouble) -> Iterator[Subject]:
    pytest.importorskip("opensearchpy")
    index = OpenSearchIndex("search_index/talks", double.url, "Talks", now_ms=lambda: NOW_MS)
    yield Subject(index, lambda: index._connected().indices.refresh(index="talks"))
    index.close()


def test_each_document_s_failure_is_its_own_and_a_conflict_is_none(
    opensearch: Subject, double: OpenSearchDouble
) -> None:
    opensearch.send(put("conflict", "later", 9), Index("talks", "number", "1", {"text": "a", "place": "b"}))
    double.fail_items = {
        "busy": (429, "es_rejected_execution_exception"),
        "full": (403, "cluster_block_exception"),
        "forbidden": (403, "security_exception"),
        "away": (503, "unavailable_shards_exception"),
    }
    sent = [put(id, "text", 5) for id in ("good", "busy", "conflict", "full", "forbidden", "away")]
    failures = opensearch.send(*sent, Index("talks", "wrong", "1", {"place": {"lat": 1}}))
    assert [failure and failure.kind for failure in failures] == [
        None,
        "throttled",
        None,
        "unavailable",
        "permission",
        "unavailable",
        "rejected",
    ]
    assert failures[6] is not None
    assert failures[6].code == "mapper_parsing_exception"
    assert failures[6].target == "search_index/talks"
    (request,) = [body for _, path, body, _ in double.requests[1:]]
    assert request.count(b"\n") == 14, "one request, two lines a document"


@pytest.mark.parametrize(
    ("status", "type", "kind"),
    [
        (429, "circuit_breaking_exception", "throttled"),
        (503, "master_not_discovered_exception", "unavailable"),
        (401, "security_exception", "permission"),
        (403, "security_exception", "permission"),
        (404, "index_not_found_exception", "missing"),
        (400, "illegal_argument_exception", "rejected"),
    ],
)
def test_what_a_refused_request_means(
    opensearch: Subject, double: OpenSearchDouble, status: int, type: str, kind: str
) -> None:
    double.refuse = [Refused(status, type, "as the test wants it")]
    (failure,) = opensearch.send(put("a", "text"))
    assert failure is not None
    assert (failure.kind, failure.code) == (kind, type)
    assert opensearch.send(put("a", "text")) == [None]


def test_a_request_that_is_refused_whole_finds_the_document_it_is_refused_for(
    opensearch: Subject, double: OpenSearchDouble
) -> None:
    double.refuse = [Refused(413, "too_large", "Request size exceeded 10485760 bytes")]
    assert opensearch.send(put("a", "one"), put("b", "two")) == [None, None]
    assert opensearch.found("one") | opensearch.found("two") == {"a", "b"}


def test_a_cluster_that_is_away_is_unavailable() -> None:
    pytest.importorskip("opensearchpy")
    index = OpenSearchIndex("search_index/talks", "http://127.0.0.1:1", "talks", now_ms=lambda: NOW_MS)
    (failure,) = Subject(index, lambda: None).send(put("a", "text"))
    assert failure is not None
    assert failure.kind == "unavailable"
    with pytest.raises(Unavailable):
        index.search("text")
    index.close()


def test_what_a_deleted_document_leaves_is_purged_when_no_change_can_be_late(double: OpenSearchDouble) -> None:
    pytest.importorskip("opensearchpy")
    clock = [NOW_MS]
    double.now_ms = lambda: clock[0]
    index = OpenSearchIndex("search_index/talks", double.url, "talks", now_ms=lambda: clock[0])
    subject = Subject(index, lambda: index._connected().indices.refresh(index="talks"))
    subject.send(put("a", "text", 5))
    subject.send(put("a", None, 7))
    clock[0] += 2 * double.gc_deletes_ms
    subject.send(put("a", "text", 6))
    assert subject.found("text") == set(), "OpenSearch's own mark would be gone by now"
    assert double.indexes["talks"]["a"].source == {DELETED: NOW_MS}
    clock[0] += TOMBSTONE_MS
    subject.refresh()
    subject.send(put("b", "text", 1), at_ms=clock[0])
    assert list(double.indexes["talks"]) == ["b"]
    index.close()


def test_requests_to_a_domain_of_aws_s_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opensearchpy")
    from afterwrite.targets.opensearch import _signer

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    url = "https://search-talks-abc.eu-central-1.es.amazonaws.com"
    headers = _signer(url)("POST", f"{url}/talks/_bulk", "body", {})
    assert "/eu-central-1/es/aws4_request" in headers["Authorization"]
    assert (
        "/aoss/aws4_request" in _signer("https://x.eu-west-1.aoss.amazonaws.com")("POST", url, "", {})["Authorization"]
    )
    assert _signer("https://user:pass@search-talks-abc.eu-central-1.es.amazonaws.com") is None
    assert _signer("http://127.0.0.1:9200") is None
