"""The audit log's format: lines, seals and the anchor, as bytes. No files are opened here.

    audit-<first entry number, 20 digits>.jsonl        entries, one JSON object a line, only appended to
    audit-<first entry number, 20 digits>.seal.json    what a finished segment holds
    audit-anchor.json                                  where the log begins once retention has dropped segments

A line is `{"n":…,"id":…,"at":…,"entry":{…},"prev":"<hex>","hash":"<hex>"}`. Its hash is the SHA-256 of the
line's own bytes before `,"hash":`, and these include `prev`, the hash of the entry before. So a line can be
checked without parsing or writing JSON again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import orjson

from afterwrite.errors import CorruptData, InvalidValue
from afterwrite.local.canonical_json import json_bytes

DAY_MS = 86_400_000
ZERO_HASH = "0" * 64
ANCHOR_NAME = "audit-anchor.json"

_SEGMENT_NAME = re.compile(r"audit-(\d{20})\.jsonl")
_LINE_START = b'{"n":'
_PREVIOUS_KEY = b',"prev":"'
_HASH_KEY = b',"hash":"'
_LINE_END = b'"}\n'
_HASH_SIZE = len(ZERO_HASH)
_TAIL_SIZE = len(_HASH_KEY) + _HASH_SIZE + len(_LINE_END)
_NUMBER_DIGITS_MAX = 20
_EPOCH = date(1970, 1, 1)


class AuditEntry(NamedTuple):
    """What is to be appended: the effect's id, the time of the change behind it, and a JSON-able object.

    An object whose JSON text is at hand may be given as that text: it is taken over as it is.
    """

    id: str
    at_ms: int
    entry: Mapping[str, Any] | bytes


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The end of the log: the last entry's number and hash, its segment's file name, the file's size there."""

    number: int
    hash: str
    segment: str
    offset: int


EMPTY_HEAD = AuditHead(0, ZERO_HASH, "", 0)


@dataclass(frozen=True, slots=True)
class Line:
    """What the chain needs to know of a line; `intact` where the hash is that of the line's bytes."""

    number: int
    previous_hash: str
    hash: str
    intact: bool


@dataclass(frozen=True, slots=True)
class Seal:
    """What a finished segment holds. `previous_seal` is the SHA-256 of the seal file before, zeros at first."""

    segment: str
    day: str
    first: int
    last: int
    count: int
    first_prev: str
    last_hash: str
    bytes: int
    sha256: str
    previous_seal: str


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of what retention has dropped: the last entry's number and hash, its seal's SHA-256, its day."""

    number: int
    hash: str
    seal: str
    day: str


EMPTY_ANCHOR = Anchor(0, ZERO_HASH, ZERO_HASH, "")

_Record = TypeVar("_Record", Seal, Anchor)


def segment_name(first: int) -> str:
    """The file name of the segment that begins with entry `first`."""
    return f"audit-{first:020d}.jsonl"


def seal_path(segment: Path) -> Path:
    """The file that seals `segment`."""
    return segment.with_name(f"{segment.stem}.seal.json")


def list_segments(directory: Path) -> list[tuple[int, Path]]:
    """The directory's segments with their first entry's number, in order; none where there is no directory yet."""
    if not directory.exists():
        return []
    matches = ((_SEGMENT_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match)


def encode_line(number: int, entry: AuditEntry, previous_hash: str) -> tuple[bytes, str]:
    """The line of `entry` and its hash. Raises InvalidValue for what JSON cannot hold."""
    entry_id, at_ms, content = entry
    try:
        identity = json_bytes(entry_id)
        text = content if isinstance(content, bytes) else json_bytes(content)
    except InvalidValue as error:
        raise InvalidValue(f"audit entry {entry_id!r}: {error}") from error
    if b"\n" in text:
        raise InvalidValue(f"audit entry {entry_id!r}: expected JSON text on one line, got several")
    covered = b'{"n":%d,"id":%b,"at":"%b.%03dZ","entry":%b,"prev":"%b"' % (
        number,
        identity,
        _second_text(at_ms // 1000),
        at_ms % 1000,
        text,
        previous_hash.encode(),
    )
    digest = sha256(covered).hexdigest()
    return b'%b,"hash":"%b"}\n' % (covered, digest.encode()), digest


def decode_line(line: bytes) -> Line | None:
    """What the chain needs of `line`, newline included; None where it has not a line's form."""
    covered, tail = line[:-_TAIL_SIZE], line[-_TAIL_SIZE:]
    previous = covered[-_HASH_SIZE - 1 : -1]
    number = covered[len(_LINE_START) : covered.find(b",", 0, len(_LINE_START) + _NUMBER_DIGITS_MAX + 1)]
    formed = (
        covered.startswith(_LINE_START)
        and number.isdigit()
        and covered.endswith(_PREVIOUS_KEY + previous + b'"')
        and tail.startswith(_HASH_KEY)
        and tail.endswith(_LINE_END)
    )
    if not formed:
        return None
    digest = tail[len(_HASH_KEY) : -len(_LINE_END)]
    return Line(
        int(number),
        previous.decode("ascii", "replace"),
        digest.decode("ascii", "replace"),
        sha256(covered).hexdigest().encode() == digest,
    )


def line_time(line: bytes) -> str | None:
    """The ISO time of an entry, None where the line has none."""
    try:
        at = orjson.loads(line)["at"]
        datetime.fromisoformat(at)
    except (ValueError, TypeError, KeyError):
        return None
    return str(at)


def day_number(at: str) -> int:
    """The UTC day of an ISO time, counted from 1970-01-01."""
    return (date.fromisoformat(at[:10]) - _EPOCH).days


def day_text(day: int) -> str:
    """The ISO date of a day counted from 1970-01-01."""
    return _second_text(day * DAY_MS // 1000)[:10].decode()


def encode(record: Seal | Anchor) -> bytes:
    """The content of a seal's or the anchor's file: always the same bytes for the same record."""
    return orjson.dumps(asdict(record), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def decode(kind: type[_Record], content: bytes) -> _Record:
    """The seal or anchor in `content`. Raises CorruptData where it is none."""
    try:
        record = kind(**orjson.loads(content))
        if all(type(getattr(record, field.name)).__name__ == field.type for field in fields(record)):
            return record
        raise TypeError("a field has another type")
    except (ValueError, TypeError) as error:
        raise CorruptData(
            f"expected an audit log's {kind.__name__.lower()}, got {content[:80]!r} ({error}): "
            "restore the file from a backup"
        ) from error


def read_anchor(directory: Path) -> Anchor:
    """Where the log in `directory` begins. Raises CorruptData and OSError."""
    try:
        return decode(Anchor, (directory / ANCHOR_NAME).read_bytes())
    except FileNotFoundError:
        return EMPTY_ANCHOR


@lru_cache(1024)
def _second_text(second: int) -> bytes:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}".encode()
