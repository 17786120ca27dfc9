from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import afterwrite
from afterwrite.errors import CommandError, Unavailable
from afterwrite.inspection import DataReader
from bounds import BOUND_S
from cli.conftest import Run
from engine_process import EngineUnderTest, wait_until
from opensearch_double import OpenSearchDouble, serving

APP = """
from afterwrite import App

app = App("library")
books = app.table("books", partition_key="PK", sort_key="SK")
titles = app.search_index("titles", fields=["title"])


@titles.documents(books)
def title_of(item):
    return {"title": item["title"], "author": "Oda\\x1b[1m"} if "title" in item else None
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineUnderTest]:
    """A running engine with two books; a third was deleted, and a fourth has no title any more."""
    directory = tmp_path_factory.mktemp("library")
    (directory / "app.py").write_text(APP)
    with EngineUnderTest(directory / "app.py", directory / "data") as started:
        for number in range(4):
            started.put("books", PK=f"b-{number}", SK="book", title=f"Volume {number} of One Piece")
        started.call("DeleteItem", {"TableName": "books", "Key": {"PK": {"S": "b-2"}, "SK": {"S": "book"}}})
        started.put("books", PK="b-3", SK="book")
        with afterwrite.open_data(started.data) as reader:
            wait_until(reader.idle)
        yield started


def test_documents_are_found_beside_a_running_engine(engine: EngineUnderTest, cli: Run) -> None:
    done = cli("search", "titles", "piece vol*", "--data", engine.data, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    hits = [json.loads(line) for line in done.stdout.splitlines()]
    assert {hit["id"] for hit in hits} == {"books/b-0/book", "books/b-1/book"}
    assert hits[0]["document"].keys() == {"title", "author"}
    text = cli("search", "titles", '"volume 1"', "--data", engine.data).stdout
    assert text == "books/b-1/book\n  title: Volume 1 of One Piece\n  author: Oda\\x1b[1m\n"


def test_nothing_found_and_nothing_to_search(engine: EngineUnderTest, cli: Run) -> None:
    nothing = cli("search", "titles", "naruto", "--data", engine.data)
    assert (nothing.returncode, nothing.stdout) == (1, "nothing found\n")
    assert cli("search", "titles", "oda", "--data", engine.data).returncode == 1, "only the declared fields"
    wrong = cli("search", "authors", "oda", "--data", engine.data)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("afterwrite: expected a search index of this app (titles), got 'authors'")
    assert "expected words to search for, got '!'" in cli("search", "titles", "!", "--data", engine.data).stderr


def test_an_index_of_opensearch_is_searched_there(cli: Run) -> None:
    pytest.importorskip("opensearchpy")
    double = OpenSearchDouble(indexes={"titles": {}}, searchable={"titles": {"b-1": {"title": "One Piece"}}})
    with serving(double):
        done = cli("search", "titles", "piece", "--url", double.url, "--json")
        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["b-1"]
        missing = cli("search", "authors", "piece", "--url", double.url)
        assert missing.returncode == 2
        assert "no such index [authors]" in missing.stderr


def test_an_index_whose_file_is_deleted_under_the_engine_is_made_again_and_never_found_empty(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with EngineUnderTest(tmp_path / "app.py", tmp_path / "data") as engine:
        engine.put("books", PK="b-1", SK="book", title="Volume 1 of One Piece")
        with afterwrite.open_data(engine.data) as reader:
            wait_until(reader.idle)

            assert first_found(reader) == {"books/b-1/book"}
            # At once: what is deleted file by file may come back in between.
            (engine.data / "search").rename(tmp_path / "gone")
            assert first_found(reader) == {"books/b-1/book"}, "without any change"
            (engine.data / "search").rename(tmp_path / "gone-again")
            engine.put("books", PK="b-2", SK="book", title="Volume 2 of One Piece")
            wait_until(reader.idle)
            wait_until(lambda: first_found(reader) == {"books/b-1/book", "books/b-2/book"})
        assert engine.log.read_text().count("was deleted or replaced") == 2


def test_the_index_of_a_deleted_file_is_filled_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with EngineUnderTest(tmp_path / "app.py", tmp_path / "data") as engine:
        engine.put("books", PK="b-1", SK="book", title="Volume 1 of One Piece")
        with afterwrite.open_data(engine.data) as reader:
            wait_until(reader.idle)
    shutil.rmtree(tmp_path / "data" / "search")
    with afterwrite.open_data(tmp_path / "data") as reader:
        for look in (lambda: reader.search("titles", "piece"), lambda: list(reader.documents("titles"))):
            with pytest.raises(CommandError, match="found none: the engine makes it from the tables"):
                look()
    with EngineUnderTest(tmp_path / "app.py", tmp_path / "data"), afterwrite.open_data(tmp_path / "data") as reader:
        assert first_found(reader) == {"books/b-1/book"}
        assert [id for id, _ in reader.documents("titles")] == ["books/b-1/book"]


def first_found(reader: DataReader) -> set[str]:
    """What a search finds as soon as the index is there; until then it is an error."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        with suppress(CommandError, Unavailable):
            return {hit.id for hit in reader.search("titles", "one piece")}
    raise AssertionError(f"the index was not filled within {BOUND_S:g} s")


def test_the_index_of_a_deleted_file_is_filled_from_the_table(
    engine: EngineUnderTest, cli: Run, tmp_path: Path
) -> None:
    engine.stop()
    for path in (engine.data / "search").iterdir():
        path.unlink()
    with EngineUnderTest(engine.data.parent / "app.py", engine.data) as again:
        again.put("books", PK="b-5", SK="book", title="Volume 5 of One Piece")
        with afterwrite.open_data(again.data) as reader:
            wait_until(reader.idle)
            found = {hit.id for hit in reader.search("titles", "one piece")}
    assert found == {"books/b-0/book", "books/b-1/book", "books/b-5/book"}
