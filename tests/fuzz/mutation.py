"""Requests and bytes, made wrong: by the structure of their JSON, and byte by byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

# What encoders refuse or take too long for stands in the JSON text in place of these.
_DEEP_LIST, _DEEP_MAP, _DEEP_VALUE = "\u0001deep-list", "\u0001deep-map", "\u0001deep-value"
_NESTED = {_DEEP_LIST: ("[", "", "]"), _DEEP_MAP: ('{"a":', "1", "}"), _DEEP_VALUE: ('{"L":[', '{"S":"x"}', "]}")}
_REPEATED_MAX = 1000
_DEPTHS = (3, 31, 33, 300, 1100, 20_000)

EDGES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 100, 101, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**400),
    *(1.5, -0.0, 1e308, 5e-324, float("nan"), float("inf")),
    *("", " ", "x", "0", "-1", "1e999", "NaN", "\x00", "\ud800", "é" * 300, "🎉", "x" * 5000, "9" * 5000, "true", "#"),
    *([], {}, [[]], [None], [{}], {"": None}, {"a": {}}, [1] * 3000, {str(number): 0 for number in range(3000)}),
    *({"S": 1}, {"S": ""}, {"N": "1e126"}, {"N": "0x1"}, {"N": ""}, {"N": "9" * 39}, {"B": "!"}, {"B": "A"}, {"B": ""}),
    *({"SS": []}, {"SS": ["a", "a"]}, {"NS": ["1", "1.0"]}, {"BS": [""]}, {"NULL": False}, {"BOOL": "a"}, {"X": "1"}),
    *({"M": {"": {"S": ""}}}, {"L": [{}]}, {"L": [None]}, {"S": "a", "N": "1"}, {"S": None}, {"M": {"S": "x"}}),
    # Values that may be, and keys at their limits.
    *({"N": "1E-130"}, {"N": "-9.9E125"}, {"N": "-0"}, {"S": "\x00\xff"}, {"B": "AAD/"}, {"NS": ["1E125", "-1"]}),
    *({"S": "k" * 1024}, {"S": "k" * 1025}, {"S": "é" * 512}, {"B": "AAAA" * 341}, {"B": "A" * 2732}),
    *(_DEEP_LIST, _DEEP_MAP, _DEEP_VALUE),
)  # fmt: skip

_SNIPPETS = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b"\xff", b": ", b",", b" ", b"\t", b'"', b"{", b"[", b"\\u0000", b"\\ud800"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n"),
    *(b"Connection: close\r\n", b"Connection: upgrade\r\nUpgrade: h2c\r\n", b"X-Amz-Target: a\r\n"),
    *(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/9.9", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"1;x=y\r\n", b"a" * 70_000),
)  # fmt: skip


def mutated(source: Random, body: Any, corpus: Sequence[Any]) -> Any:
    """The JSON value with one to four changes: values replaced, taken out, repeated, wrapped, moved in from others."""
    root = [json.loads(json.dumps(body))]
    for _ in range(source.choice((1, 1, 1, 2, 3, 4))):
        holder, place = source.choice(_places(root))
        _CHANGES[source.randrange(len(_CHANGES))](source, holder, place, corpus)
    return root[0]


def encoded(source: Random, value: Any) -> bytes:
    """The value as JSON text; sometimes with bytes of it changed."""
    text = json.dumps(value)
    for mark, (opened, innermost, closed) in _NESTED.items():
        depth = source.choice(_DEPTHS)
        text = text.replace(json.dumps(mark), opened * depth + innermost + closed * depth)
    # A lone surrogate is escaped in JSON's text, so that this encoding cannot fail.
    content = text.encode()
    return changed_bytes(source, content) if source.random() < 0.1 else content


def changed_bytes(source: Random, content: bytes) -> bytes:
    """The bytes with a few changes."""
    changed = bytearray(content)
    for _ in range(source.choice((1, 1, 2, 4, 8))):
        start = source.randrange(len(changed) + 1)
        stop = min(len(changed), start + source.choice((1, 2, 8, 50)))
        kind = source.randrange(6)
        if kind == 0:
            changed[start:stop] = b""
        elif kind == 1:
            changed[start:start] = changed[start:stop]
        elif kind == 2:
            changed[start:start] = source.choice(_SNIPPETS)
        elif kind == 3:
            changed[start:stop] = source.randbytes(stop - start)
        elif kind == 4 and start < len(changed):
            changed[start] ^= 1 << source.randrange(8)
        elif kind == 5:
            lines = bytes(changed).split(b"\r\n")
            first, second = source.randrange(len(lines)), source.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            changed = bytearray(b"\r\n".join(lines))
    if source.random() < 0.1:
        del changed[source.randrange(len(changed) + 1) :]
    return bytes(changed)


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Every place of the value: what holds it, and under which key or index."""
    found: list[tuple[Any, Any]] = []
    pending: list[Any] = [root]
    while pending:
        holder = pending.pop()
        for place in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, place))
            if isinstance(holder[place], (dict, list)):
                pending.append(holder[place])
    return found


def _replace(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    holder[place] = json.loads(json.dumps(source.choice(EDGES)))


def _take_out(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    if isinstance(holder, dict) or len(holder) > 1:
        del holder[place]


def _move_in(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    """Something of another request stands here instead, or beside."""
    other, there = source.choice(_places([source.choice(corpus)]))
    value = json.loads(json.dumps(other[there]))
    if isinstance(holder, dict) and isinstance(there, str) and source.random() < 0.7:
        holder[there] = value
    else:
        holder[place] = value


def _repeat(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    value = holder[place]
    # What is large already stays as it is: a body beyond the server's limit tells nothing, and takes long to send.
    if isinstance(value, list) and 0 < len(value) < _REPEATED_MAX:
        holder[place] = value * source.choice((2, 26, 101))
    elif isinstance(value, str) and 0 < len(value) < _REPEATED_MAX:
        holder[place] = value * source.choice((2, 50, 3000))
    elif isinstance(value, dict):
        value.update({f"{name}2": member for name, member in value.items()})


def _wrap(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    value = holder[place]
    holder[place] = source.choice(([value], {"S": value}, {"M": value}, {"L": [value]}, {"a": value}, str(value)))


def _edit_text(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    value = holder[place]
    if isinstance(value, str):
        holder[place] = changed_bytes(source, value.encode("utf-8", "replace")).decode("utf-8", "replace")
    elif isinstance(value, int):
        holder[place] = source.choice(
            (-value, value + 1, value * 1000, value + 0.5 if abs(value) < 1 << 60 else 0.5, str(value))
        )


def _rename(source: Random, holder: Any, place: Any, corpus: Sequence[Any]) -> None:
    if isinstance(holder, dict):
        holder[source.choice((place.lower(), f"{place}x", "", "#", place * 100))] = holder.pop(place)


_CHANGES: tuple[Callable[[Random, Any, Any, Sequence[Any]], None], ...] = (
    *(_replace, _replace, _take_out, _move_in, _move_in, _repeat, _wrap, _edit_text, _edit_text, _rename),
)
