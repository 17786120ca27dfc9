"""`afterwrite query`: SQL on the delivery streams' files."""

from __future__ import annotations

import csv as csv_format
import sys
from base64 import b64encode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from cyclopts.types import PositiveInt

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import Cell, print_aside, print_json, print_line, print_table, printable
from afterwrite.errors import CommandError
from afterwrite.inspection import open_data
from afterwrite.lake_queries import Answer

_SHOWN: Final = 100


def query(
    sql: str | None = None,
    /,
    *,
    data: Data = None,
    json: Flag = False,
    csv: Flag = False,
    limit: PositiveInt = _SHOWN,
) -> None:
    """Query the delivery streams' files with SQL, beside a running engine.

    Each delivery stream is a view of all its records, STREAM, and where it is declared with a key a view of the last
    record of each key, STREAM_latest. Names are written with _ for - and ., or as they are in double quotes. Without
    a query, shows the views and their columns. The SQL is DuckDB's.

    Parameters
    ----------
    sql
        The query, such as "SELECT event_name, count(*) FROM orders GROUP BY ALL".
    json
        Print every row as one JSON object a line.
    csv
        Print every row as CSV, with a line of names first.
    limit
        How many rows are shown without --json and --csv.
    """
    if json and csv:
        raise CommandError("expected --json or --csv, got both: choose one")
    with open_data(data_directory(data)) as reader, reader.lake_queries() as queries:
        if sql is None:
            _show_views(queries.views(), json=json)
            return
        answer = queries.run(sql)
        if json:
            for row in answer.rows:
                print_json(dict(zip(answer.columns, map(_value, row), strict=True)))
        elif csv:
            _write_csv(answer)
        else:
            _show(answer, limit)


def _show_views(views: dict[str, list[str]], *, json: bool) -> None:
    if json:
        print_json(views)
    elif not views:
        print_line("no delivery stream has files yet")
    else:
        for name, columns in views.items():
            print_line((name, "bold"), ": ", printable(", ".join(columns)))


def _show(answer: Answer, limit: int) -> None:
    rows = [[_cell(value) for value in row] for row in islice(answer.rows, limit)]
    print_table("", [printable(name) for name in answer.columns], rows)
    if not rows:
        print_line(f"no rows ({', '.join(map(printable, answer.columns))})")
    if next(answer.rows, None) is not None:
        print_aside(f"only the first {limit} rows are shown: --limit shows more, --json and --csv all")


def _cell(value: Any) -> Cell:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return "" if value is None else printable(_text(value))


def _write_csv(answer: Answer) -> None:
    writer = csv_format.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    for row in answer.rows:
        writer.writerow(["" if value is None else _text(value) for value in row])


def _text(value: Any) -> str:
    value = _value(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _value(value: Any) -> Any:
    """A value of DuckDB's as JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Decimal) or value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return {str(name): _value(each) for name, each in value.items()}
    return [_value(each) for each in value] if isinstance(value, list | tuple) else str(value)
