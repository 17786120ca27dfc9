"""SQL on the lake, by DuckDB: a view of each delivery stream, beside a running engine or without one.

    STREAM           every record that is in files, with the lake's columns and `dt` and `hour`
    STREAM_latest    of each key the last one; where the stream is declared with `key`

A name with `-` or `.` has to stand in double quotes in SQL; the same views are there with `_` in their place, unless
another stream has that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from afterwrite.errors import CommandError
from afterwrite.local.lake import column_name

LATEST: Final = "_latest"
# Above the partitions there is what no Parquet file could hold.
_FILES: Final = "*/*/*.parquet"
_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query has answered: the columns' names, and the rows as they are taken."""

    columns: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


class LakeQueries:
    """Queries on the lake in the directory `lake`, whose streams have the `keys` (fields by stream; none: no key).

    Raises CommandError without DuckDB.
    """

    def __init__(self, lake: Path, keys: Mapping[str, Sequence[str]]) -> None:
        try:
            import duckdb
        except ImportError:
            raise CommandError(
                "expected the package duckdb, which queries the lake: pip install 'afterwrite[query]'"
            ) from None
        self._lake = lake
        self._keys = keys
        self._error: type[Exception] = duckdb.Error
        self._connection: Any = duckdb.connect(config={"autoinstall_known_extensions": "false"})
        self._connection.execute("SET TimeZone = 'UTC'")

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()

    def __enter__(self) -> LakeQueries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def streams(self) -> list[str]:
        """The streams that have files: those declared, and those of earlier declarations."""
        found = {path.name for path in self._lake.iterdir() if path.is_dir()} if self._lake.is_dir() else set()
        return sorted(name for name in found if next((self._lake / name).glob(_FILES), None) is not None)

    def views(self) -> dict[str, list[str]]:
        """The views as a query without quotes names them, each with its columns. Raises CommandError as `run`."""
        streams = self.streams()
        try:
            self._make_views(streams)
        except self._error as error:
            raise CommandError(f"the query failed: {_first_line(str(error))}") from None
        return {view: self._columns(view) for stream in streams for view in self._plain_names(stream)}

    def run(self, sql: str) -> Answer:
        """Run one query. Raises CommandError with DuckDB's words, and what there is to ask for."""
        streams = self.streams()
        asked = _plain(sql)
        try:
            # A view reads the head of each of its files, so only those that the query may mean are made.
            self._make_views([stream for stream in streams if _plain(stream) in asked])
            cursor = self._connection.execute(sql)
        except self._error as error:
            raise CommandError(self._explained(str(error), asked, streams)) from None
        if cursor is None or cursor.description is None:
            raise CommandError("expected a query, got no statement: write one, such as SELECT count(*) FROM …")
        return Answer([column[0] for column in cursor.description], self._rows(cursor))

    def _rows(self, cursor: Any) -> Iterator[tuple[Any, ...]]:
        try:
            while rows := cursor.fetchmany(_ROWS):
                yield from rows
        except self._error as error:
            raise CommandError(f"the query failed: {_first_line(str(error))}") from None

    def _make_views(self, streams: Sequence[str]) -> None:
        """Make the streams' views, in plain letters and under their own names."""
        # A stream's own name means that stream, whatever others are called in plain letters; so it is made last.
        for stream in streams:
            for name in self._plain_names(stream):
                self._make_view(name, self._rows_of(stream, latest=name != _plain(stream)))
        for stream in streams:
            if self._keys.get(stream):
                self._make_view(stream + LATEST, self._rows_of(stream, latest=True))
        for stream in streams:
            self._make_view(stream, self._rows_of(stream, latest=False))

    def _plain_names(self, stream: str) -> list[str]:
        return [_plain(stream), _plain(stream + LATEST)] if self._keys.get(stream) else [_plain(stream)]

    def _rows_of(self, stream: str, *, latest: bool) -> str:
        files = (_literal(self._lake / stream) + "/" + _FILES).replace("'", "''")
        rows = (
            f"SELECT * FROM read_parquet('{files}', union_by_name = true, hive_partitioning = true, "  # noqa: S608 - a path of the lake, quoted
            "hive_types = {'dt': DATE, 'hour': INTEGER})"
        )
        if not latest:
            return rows
        columns = ", ".join(_quoted(column_name(field)) for field in self._keys[stream])
        last = f"SELECT max(sequence) FROM records GROUP BY {columns}"  # noqa: S608 - names, quoted
        return f"WITH records AS NOT MATERIALIZED ({rows}) SELECT * FROM records WHERE sequence IN ({last})"  # noqa: S608 - made above

    def _make_view(self, name: str, select: str) -> None:
        self._connection.execute(f"CREATE OR REPLACE VIEW {_quoted(name)} AS {select}")

    def _columns(self, stream: str) -> list[str]:
        described = self._connection.execute(f"DESCRIBE {_quoted(stream)}").fetchall()
        return [f"{name} {kind}" for name, kind, *_ in described]

    def _explained(self, message: str, asked: str, streams: Sequence[str]) -> str:
        without_key = [stream for stream in streams if _plain(stream + LATEST) in asked and not self._keys.get(stream)]
        if without_key:
            return (
                f"the delivery stream {without_key[0]} is declared without a key, so there is no latest record of "
                'each: declare it with key="FIELD", or use the view of all its records'
            )
        waiting = [stream for stream in self._keys if stream not in streams and _plain(stream) in asked]
        if waiting:
            return (
                f"the delivery stream {waiting[0]} has no files yet: its records are written when its buffer is full "
                "or old enough (buffer_mib, buffer_seconds)"
            )
        words = _first_line(message)
        if not words.startswith("Catalog Error"):
            return f"the query failed: {words}"
        known = [
            _plain(stream) + end for stream in streams for end in ("", LATEST) if not end or self._keys.get(stream)
        ]
        return f"the query failed: {words.partition(' Did you mean')[0]} There are: {', '.join(known) or 'no records'}"


def _literal(path: Path) -> str:
    """The path as a pattern of DuckDB's that means it alone."""
    return re.sub(r"[*?\[]", r"[\g<0>]", str(path))


def _plain(name: str) -> str:
    return re.sub(r"[-.]", "_", name).lower()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_line(message: str) -> str:
    return message.strip().partition("\n")[0]
