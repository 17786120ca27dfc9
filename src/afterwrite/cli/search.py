"""`afterwrite search`: documents by their words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from cyclopts.types import PositiveInt

from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import print_json, print_line, printable
from afterwrite.core import json_text
from afterwrite.core.search import Hit
from afterwrite.errors import CommandError
from afterwrite.inspection import open_data
from afterwrite.targets.opensearch import OpenSearchIndex


def search(
    index: str, words: str, /, *, data: Data = None, url: str | None = None, limit: PositiveInt = 10, json: Flag = False
) -> int:
    """Search an index of the app, beside a running engine.

    Prints the documents that hold all words, the best first. Words in double quotes have to stand beside each other;
    manga* is every word that begins so. Exits with 1 where there is none.

    Parameters
    ----------
    index
        The search index's name.
    words
        What to search for.
    url
        Where OpenSearch is, for an index that is there. Default: the index in the data directory.
    limit
        How many documents at most.
    json
        Print every document as one JSON object a line.
    """
    hits = _hits(index, words, data, url, limit)
    for hit in hits:
        if json:
            print_json({"id": hit.id, "score": round(hit.score, 4), "document": hit.document})
        else:
            print_line((printable(hit.id), "bold"))
            for name, value in hit.document.items():
                print_line(f"  {printable(name)}: {printable(_text(value))}")
    if not hits and not json:
        print_line("nothing found")
    return 0 if hits else 1


def _hits(index: str, words: str, data: Any, url: str | None, limit: int) -> Sequence[Hit]:
    if url is not None:
        target = OpenSearchIndex(f"search_index/{index}", url, index, now_ms=lambda: time.time_ns() // 1_000_000)
        try:
            return target.search(words, limit=limit)
        except ImportError:
            raise CommandError(
                "expected the package opensearch-py, which searches there: pip install 'afterwrite[opensearch]'"
            ) from None
        finally:
            target.close()
    with open_data(data_directory(data)) as reader:
        known = reader.search_indexes()
        if index not in known:
            raise CommandError(
                f"expected a search index of this app ({', '.join(known) or 'it has none here'}), got {index!r}: "
                "choose one, or say with --url where OpenSearch is"
            )
        return reader.search(index, words, limit=limit)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json_text.dumps(value).decode()
