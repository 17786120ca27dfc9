"""Plain writes: requests that the library in C reads in one pass, and writes many at a time.

They are PutItem, UpdateItem and TransactWriteItems. Their expressions are those of requests that came before: Python
has compiled them then, and `table/forms` has made of them what the library carries out. Whatever that does not know
for certain (a new expression, a set, a condition that does not hold, an error) it leaves to Python.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from afterwrite.accelerators import quick_library
from afterwrite.store import plain_batches
from afterwrite.store.environment import Environment
from afterwrite.store.plain_batches import PlainBatch, PlainRequest, Token
from afterwrite.store.plain_tables import KnownTables
from afterwrite.table.forms import form_of

# `struct asked` of taken_writes.c: a connection's slot, its generation, the request's flags.
ASKED: Final = struct.Struct("@III")
# `struct taken` of taken_writes.c: operation, the body's place and size, writes, and the token with its fingerprint.
_TAKEN: Final = struct.Struct("@IIIII36s16s")
_OPERATIONS: Final = ("PutItem", "UpdateItem", "TransactWriteItems")
_ROOM_BYTES: Final = 2 << 20
_SCRATCH_BYTES: Final = 1 << 17
_TAKEN_MAX: Final = 1024
# The library looks through them one by one.
_FORMS_MAX: Final = 128
_LEARNED_MAX: Final = 4096

_Key = tuple[str | None, str | None, tuple[tuple[str, str], ...]]


class _Taking(ctypes.Structure):
    """`struct taking` of taken_writes.c."""

    _fields_ = (
        ("tables", ctypes.c_char_p),
        ("tables_bytes", ctypes.c_size_t),
        ("forms", ctypes.c_char_p),
        ("forms_bytes", ctypes.c_size_t),
        ("scratch", ctypes.c_void_p),
        ("scratch_bytes", ctypes.c_size_t),
        ("out", ctypes.c_void_p),
        ("room", ctypes.c_size_t),
        ("bodies", ctypes.c_void_p),
        ("bodies_room", ctypes.c_size_t),
        ("asked", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
        ("requests_max", ctypes.c_uint32),
        ("requests", ctypes.c_uint32),
        ("writes", ctypes.c_uint32),
        ("bytes", ctypes.c_size_t),
        ("bodies_bytes", ctypes.c_size_t),
        ("left", ctypes.c_size_t),
    )


class PlainWrites:
    """Takes plain writes into the tables of an environment. For any thread."""

    def __init__(self, environment: Environment) -> None:
        self._library = quick_library()
        self._lock = threading.Lock()
        self._known = KnownTables(environment)
        self._learned: set[_Key] = set()
        self._forms: list[bytes] = []
        self._written_forms = b""
        self._room = ctypes.create_string_buffer(_ROOM_BYTES)
        self._bodies = ctypes.create_string_buffer(_ROOM_BYTES)
        self._scratch = ctypes.create_string_buffer(_SCRATCH_BYTES)
        self._asked = ctypes.create_string_buffer(_TAKEN_MAX * ASKED.size)
        self._taken = ctypes.create_string_buffer(_TAKEN_MAX * _TAKEN.size)

    def learn(self, operation: str, body: Mapping[str, Any]) -> None:
        """Know the expressions of a request from now on; it was found to be valid."""
        if self._library is None or operation not in _OPERATIONS:
            return
        for write in _writes_of(operation, body):
            key = _key_of(write)
            if key is not None and key not in self._learned:
                with self._lock:
                    self._learn(key)

    def _learn(self, key: _Key) -> None:
        if len(self._learned) >= _LEARNED_MAX:
            self._learned.clear()
        self._learned.add(key)
        form = form_of(*key)
        if form is None:
            return
        if len(self._forms) == _FORMS_MAX:
            # Whoever writes a new text each time would keep out the others for ever.
            self._forms.clear()
            self._learned = {key}
        self._forms.append(form)
        self._written_forms = b"".join(self._forms)

    def take(self, requests: int, size: int) -> tuple[int, bytes, PlainBatch | None]:
        """Take the plain writes out of the front's requests, `size` bytes at the address `requests`.

        How many bytes are left there of the other ones; where the answers go, an `ASKED` a request; and the writes,
        None where there are none.
        """
        if self._library is None:
            return size, b"", None
        with self._lock:
            tables, forms = self._known.batched, self._written_forms
            taking = _Taking(
                tables.names,
                len(tables.names),
                forms,
                len(forms),
                ctypes.addressof(self._scratch),
                _SCRATCH_BYTES,
                ctypes.addressof(self._room),
                _ROOM_BYTES,
                ctypes.addressof(self._bodies),
                _ROOM_BYTES,
                ctypes.addressof(self._asked),
                ctypes.addressof(self._taken),
                _TAKEN_MAX,
            )
            self._library.take_writes(requests, size, ctypes.byref(taking))
            count = taking.requests
            if not count:
                return taking.left, b"", None
            batch = plain_batches.batch_of(self._library, self._room, taking.writes, tables, forms)
            bodies = ctypes.string_at(self._bodies, taking.bodies_bytes)
            taken = ctypes.string_at(self._taken, count * _TAKEN.size)
            asked = ctypes.string_at(self._asked, count * ASKED.size)
        return taking.left, asked, batch._replace(requests=list(_requests(taken, bodies)))


def _requests(taken: bytes, bodies: bytes) -> Iterator[PlainRequest]:
    for operation, body_at, body_bytes, writes, token_bytes, token, fingerprint in _TAKEN.iter_unpack(taken):
        known_by = Token(token[:token_bytes].decode(), fingerprint) if token_bytes else None
        body = bodies[body_at : body_at + body_bytes]
        yield PlainRequest(_OPERATIONS[operation], body, writes, known_by)


def _writes_of(operation: str, body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if operation != "TransactWriteItems":
        yield body
        return
    for member in body["TransactItems"]:
        yield from (write for write in member.values() if isinstance(write, dict))


def _key_of(write: Mapping[str, Any]) -> _Key | None:
    """What a form is made of; None where the write has no expression."""
    update, condition = write.get("UpdateExpression"), write.get("ConditionExpression")
    if update is None and condition is None:
        return None
    return update, condition, tuple((write.get("ExpressionAttributeNames") or {}).items())
