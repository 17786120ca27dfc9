"""Documents taken out of an embedded search index, and nothing of them in the file's bytes, also by words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from afterwrite.core.effects import Index, StampedEffect
from afterwrite.errors import StorageError
from afterwrite.local import search_erasure
from afterwrite.local.search_index import EmbeddedIndex, documents, index_file, search

NOW_MS = 1_790_000_000_000


def sent(index: EmbeddedIndex, id: str, text: str | None, version: int) -> None:
    document = None if text is None else {"text": text}
    effect = Index("talks", id, str(version), document)
    assert index.send([index.entry(StampedEffect("c/r/0", "t/a", NOW_MS, effect))]) == [None]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """An index of many documents, two of them to be forgotten, in earlier forms as well."""
    index = EmbeddedIndex(tmp_path, "talks", now_ms=lambda: NOW_MS)
    for number in range(200):
        sent(index, f"t/bob/{number}", f"keeper {number} " * 20, 1)
    sent(index, "t/ada/1", "quetzalcoatl early", 1)
    sent(index, "t/ada/1", "xylophonist later", 5)
    sent(index, "t/ada/2", "zanzibarite", 5)
    sent(index, "t/ada/3", "wolframite", 5)
    sent(index, "t/ada/3", None, 6)
    index.fill(lambda: ())
    index.close()
    return index_file(tmp_path, "talks")


def held(path: Path) -> list[str]:
    """The words that some file of the index holds, whole or without their first letters, as segments keep them."""
    content = b"".join(each.read_bytes() for each in path.parent.iterdir())
    words = ("quetzalcoatl", "xylophonist", "zanzibarite", "wolframite")
    return [word for word in words if word.encode() in content or word[3:].encode() in content]


def erase(path: Path, *, dry_run: bool = False) -> int:
    return search_erasure.erase(path, lambda id, _: id.startswith("t/ada/"), at_ms=NOW_MS, dry_run=dry_run)


def test_neither_documents_nor_words_nor_what_they_were_before_are_in_the_file(filled: Path) -> None:
    assert "zanzibarite" in held(filled)
    assert erase(filled, dry_run=True) == 2
    assert search(filled, "zanzibarite"), "nothing is changed"
    with filled.open("rb") as old:
        assert erase(filled) == 2
        assert not any(old.read()), "what the file was is overwritten"
    assert held(filled) == []
    assert [path.name for path in filled.parent.iterdir()] == ["talks.sqlite"]
    assert len(list(documents(filled))) == 200
    assert [hit.id for hit in search(filled, '"keeper 7"')] == ["t/bob/7"]
    assert erase(filled) == 0


def test_a_late_record_does_not_put_it_back_and_a_new_one_does(filled: Path) -> None:
    erase(filled)
    index = EmbeddedIndex(filled.parent, "talks", now_ms=lambda: NOW_MS)
    sent(index, "t/ada/1", "xylophonist late", 5)
    assert index.search("xylophonist") == []
    sent(index, "t/ada/1", "somebody new", 7)
    assert [hit.id for hit in index.search("new")] == ["t/ada/1"]
    index.close()


def test_what_a_crash_left_is_no_obstacle(filled: Path) -> None:
    filled.with_name("talks.sqlite.compacted").write_bytes(b"half of it")
    assert erase(filled) == 2
    assert not filled.with_name("talks.sqlite.compacted").exists()
    with sqlite3.connect(filled) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_a_file_that_is_no_index_is_named(tmp_path: Path) -> None:
    path = tmp_path / "talks.sqlite"
    path.write_bytes(b"no database" * 1_000)
    with pytest.raises(StorageError, match=r"talks.sqlite cannot be rewritten .* delete the file"):
        erase(path)
