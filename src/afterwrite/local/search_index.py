"""The embedded search index: documents and their words in a SQLite file, for where OpenSearch is not configured.

    DIRECTORY/INDEX.sqlite     documents, each with its version, and the words of those that are not deleted (FTS5)

A document is never older than it was: versions are compared, and a deleted one leaves its version behind. One process
writes the file; others may search it meanwhile. Where the file is deleted or replaced, another one is begun, which is
not searched before it is filled from the tables.
"""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

from afterwrite.core import json_text
from afterwrite.core.batching import Entry, Limits
from afterwrite.core.effects import Index, StampedEffect
from afterwrite.core.search import Hit
from afterwrite.core.target_failures import TargetFailure
from afterwrite.core.versions import TOMBSTONE_MS, check_version, is_later
from afterwrite.errors import CommandError, Rejected, StorageError, Unavailable

_LOG = logging.getLogger("afterwrite")

_PURGE_EVERY_MS: Final = 3_600_000
_LIMITS: Final = Limits(entries=1_000, request_bytes=16 << 20, entry_bytes=16 << 20)
_BUSY_S_MAX: Final = 10.0
_SCHEMA: Final = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS documents (
        number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, document TEXT, deleted_at_ms INTEGER
    );
    CREATE INDEX IF NOT EXISTS deleted ON documents (deleted_at_ms) WHERE deleted_at_ms IS NOT NULL;
    CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, tokenize = "unicode61 remove_diacritics 2");
    CREATE TABLE IF NOT EXISTS filled (at_ms INTEGER NOT NULL);
"""
_SEARCH: Final = """
    SELECT documents.id, -bm25(words), documents.document
    FROM words JOIN documents ON documents.number = words.rowid
    WHERE words MATCH ? ORDER BY rank LIMIT ?
"""
_COUNT_MADE: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'filled'"
_COUNT_FILLED: Final = "SELECT count(*) FROM filled"
_PUT: Final = """
    INSERT INTO documents (id, version, document, deleted_at_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE
    SET version = excluded.version, document = excluded.document, deleted_at_ms = excluded.deleted_at_ms
    RETURNING number
"""
_TERM: Final = re.compile(r'"([^"]*)"|(\S+)')


def index_file(directory: Path, index: str) -> Path:
    """The file of an index."""
    return directory / f"{index}.sqlite"


def index_files(directory: Path) -> list[Path]:
    """The files of all indexes in a directory."""
    return sorted(directory.glob("*.sqlite"))


class EmbeddedIndex:
    """The index `name` in `directory`, to write to. `fields` of documents are searched, every text where none is given.

    Safe for use by several threads. Durability: what `send` says was performed is on disk. Raises StorageError for a
    file that is none of its own.
    """

    limits: Final = _LIMITS

    def __init__(self, directory: Path, name: str, *, now_ms: Callable[[], int], fields: Sequence[str] = ()) -> None:
        self.name = f"search_index/{name}"
        self._fields = tuple(fields)
        self._now_ms = now_ms
        self._path = index_file(directory, name)
        self._lock = threading.Lock()
        self._purged_ms = 0
        self.is_whole: bool
        """Whether it has been filled with what the tables held before the first change that it was told."""
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"the search index {self._path} cannot be used ({error}): delete the file, and it is made again "
                "from the tables"
            ) from error

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undone:
            database = sqlite3.connect(self._path, timeout=_BUSY_S_MAX, check_same_thread=False, isolation_level=None)
            undone.callback(database.close)
            database.executescript(_SCHEMA)
            database.execute("PRAGMA synchronous = FULL")
            filled = database.execute(_COUNT_FILLED).fetchone()[0]
            self._file = _file_at(self._path)
            undone.pop_all()
        self._database = database
        self.is_whole = filled > 0

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def look(self) -> None:
        """Begin another file where this one was deleted or replaced. Raises sqlite3.Error and OSError."""
        with self._lock:
            self._begin_anew_if_gone()

    def _begin_anew_if_gone(self) -> None:
        if _file_at(self._path) == self._file:
            return
        _LOG.warning(
            "the search index %s was deleted or replaced while the engine ran: it is made again from the tables",
            self._path,
        )
        self._database.close()
        self._open()

    def entry(self, stamped: StampedEffect) -> Entry:
        """The document as it is kept. Raises InvalidValue for a version that is none."""
        effect: Any = stamped.effect
        check_version(effect.version, f"{effect.id} in {self.name}")
        text = None if effect.document is None else json_text.dumps(effect.document).decode()
        row = (effect.id, effect.version, text, stamped.at_ms)
        return Entry(stamped.id, stamped.lane, row, len(text or "") + len(effect.id))

    def send(self, entries: Sequence[Entry]) -> Sequence[TargetFailure | None]:
        """Perform the entries in one transaction; why each failed, None for one that did not."""
        try:
            with self._lock, self._transaction():
                for entry in entries:
                    self._put(*entry.body)
                if self._now_ms() - self._purged_ms >= _PURGE_EVERY_MS:
                    self._purge()
        except (sqlite3.Error, OSError) as error:
            failure = TargetFailure(self.name, "unavailable", type(error).__name__, f"{self._path}: {error}")
            return [failure] * len(entries)
        return [None] * len(entries)

    def fill(self, shows: Callable[[], Iterable[Index]]) -> Sequence[TargetFailure]:
        """Put in what the tables hold, where no change has been since; the failure if there is one."""
        began_ms = self._now_ms()
        try:
            with self._lock:
                with self._transaction():
                    for each in shows():
                        if each.document is not None:
                            # A time has fewer digits than a sequence number, so whatever a change has said stays.
                            self._put(each.id, str(began_ms), json_text.dumps(each.document).decode(), began_ms)
                    self._database.execute("INSERT INTO filled VALUES (?)", (began_ms,))
                self.is_whole = True
        except (sqlite3.Error, OSError) as error:
            return [TargetFailure(self.name, "unavailable", type(error).__name__, f"{self._path}: {error}")]
        return []

    def search(self, words: str, *, limit: int = 10) -> Sequence[Hit]:
        """The documents that hold all words, the best first. Raises Rejected and Unavailable."""
        return search(self._path, words, limit=limit)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction on the file, for whoever has the lock."""
        self._begin_anew_if_gone()
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _put(self, id: str, version: str, text: str | None, at_ms: int) -> None:
        held = self._database.execute("SELECT number, version FROM documents WHERE id = ?", (id,)).fetchone()
        if held is not None and not is_later(version, held[1]):
            return
        number = held[0] if held else None
        if number is not None:
            self._database.execute("DELETE FROM words WHERE rowid = ?", (number,))
        (number,) = self._database.execute(
            _PUT,
            (id, version, text, at_ms if text is None else None),
        ).fetchone()
        if text is not None:
            words = " \n".join(_texts(json_text.loads(text.encode()), self._fields))
            self._database.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (number, words))

    def _purge(self) -> None:
        """Remove what was deleted so long ago that no change can be late."""
        self._purged_ms = self._now_ms()
        self._database.execute("DELETE FROM documents WHERE deleted_at_ms < ?", (self._purged_ms - TOMBSTONE_MS,))


def search(path: Path, words: str, *, limit: int = 10) -> Sequence[Hit]:
    """The documents of the index in the file `path` that hold all words, the best first.

    Words in double quotes stand beside each other; `manga*` is every word that begins so. Raises CommandError where
    there is no such file, Rejected for no words, Unavailable, also where it does not have yet what the tables hold.
    """
    refuse_missing(path)
    query = " ".join(_terms(words))
    if not query:
        raise Rejected(f"expected words to search for, got {words!r}")
    try:
        with closing(_opened(path)) as database:
            is_made = database.execute(_COUNT_MADE).fetchone()[0] > 0
            is_filled = is_made and database.execute(_COUNT_FILLED).fetchone()[0] > 0
            rows = database.execute(_SEARCH, (query, limit)).fetchall() if is_filled else []
    except sqlite3.Error as error:
        raise Unavailable(f"the search index {path} cannot be read: {error}") from error
    if not is_filled:
        raise Unavailable(
            f"the search index {path} is being filled from the tables: search again in a moment, as the engine runs"
        )
    return [Hit(id, score, json_text.loads(document.encode())) for id, score, document in rows]


def refuse_missing(path: Path) -> None:
    """Raise CommandError where there is no file of an index: it was never made, or was deleted."""
    if not path.is_file():
        raise CommandError(
            f"expected a search index at {path}, found none: the engine makes it from the tables when its app runs; "
            "start it, or wait for a moment"
        )


def documents(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every document of the index in the file `path`, with its id; none where there is no file."""
    if not path.is_file():
        return
    with closing(_opened(path)) as database:
        for id, document in database.execute("SELECT id, document FROM documents WHERE document IS NOT NULL"):
            yield id, json_text.loads(document.encode())


def _file_at(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from every other one; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", timeout=_BUSY_S_MAX, uri=True)


def _terms(words: str) -> Iterator[str]:
    """The words as FTS5 reads them: each in quotes, so that none of its own operators is meant."""
    for phrase, word in _TERM.findall(words):
        text = (phrase or word).replace('"', "")
        is_prefix = not phrase and text.endswith("*")
        text = text.rstrip("*")
        if any(character.isalnum() for character in text):
            yield f'"{text}"{"*" if is_prefix else ""}'


def _texts(document: Any, fields: Sequence[str]) -> Iterator[str]:
    """The texts of a document, of its `fields` where some are given."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, Mapping):
        for name, value in document.items():
            if not fields or name in fields:
                yield from _texts(value, ())
    elif isinstance(document, list):
        for each in document:
            yield from _texts(each, ())
