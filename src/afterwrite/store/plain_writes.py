"""Plain writes: requests that the library in C reads in one pass, and writes many at a time.

They are PutItem, UpdateItem and TransactWriteItems. Their expressions are those of requests that came before: Python
has compiled them then, and `table/forms` has made of them what the library carries out. Whatever that does not know
for certain (a new expression, a set, a condition that does not hold, an error) it leaves to Python.
"""

from __future__ import annotations

import ctypes
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import orjson

from afterwrite.accelerators import quick_library
from afterwrite.core.json_text import text_as_it_is
from afterwrite.store import plain_batches
from afterwrite.store.environment import Environment, WriteTransaction
from afterwrite.store.plain_batches import OPERATIONS, TAKEN, PlainBatch, PlainRequests
from afterwrite.store.plain_tables import KnownTables, PlainTables
from afterwrite.store.prepared import Write
from afterwrite.table.forms import form_of
from afterwrite.table.remembering import is_short

# `struct asked` of taken_writes.c: a connection's slot, its generation, the request's flags.
ASKED: Final = struct.Struct("@III")
# Where `struct plain_request_read` begins in `struct taken`.
_READ_AT: Final = 12
_ROOM_BYTES: Final = 2 << 20
_SCRATCH_BYTES: Final = 1 << 17
_TAKEN_MAX: Final = 1024
# The library looks through them one by one.
_FORMS_MAX: Final = 128
_LEARNED_MAX: Final = 4096
_MEMBERS: Final = ("Put", "Update", "ConditionCheck")
_UPDATES: Final = ("UpdateItem", "Update")

ByPython: TypeAlias = Callable[[str, dict[str, Any]], object]
_Key: TypeAlias = tuple[str | None, str | None, tuple[tuple[str, str], ...]]


class _Known(ctypes.Structure):
    """`struct known` of plain_write.h."""

    _fields_ = (
        ("tables", ctypes.c_char_p),
        ("tables_bytes", ctypes.c_size_t),
        ("forms", ctypes.c_char_p),
        ("forms_bytes", ctypes.c_size_t),
        ("scratch", ctypes.c_void_p),
        ("scratch_bytes", ctypes.c_size_t),
    )


class _Taking(ctypes.Structure):
    """`struct taking` of taken_writes.c."""

    _fields_ = (
        ("known", _Known),
        ("out", ctypes.c_void_p),
        ("room", ctypes.c_size_t),
        ("bodies", ctypes.c_void_p),
        ("bodies_room", ctypes.c_size_t),
        ("asked", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
        ("requests_max", ctypes.c_uint32),
        ("requests", ctypes.c_uint32),
        ("writes", ctypes.c_uint32),
        ("tokens", ctypes.c_uint32),
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
        self._taken = ctypes.create_string_buffer(_TAKEN_MAX * TAKEN.size)

    def learn(self, operation: str, body: Mapping[str, Any]) -> None:
        """Know the expressions of a request from now on; it was found to be valid."""
        if self._library is None or operation not in OPERATIONS:
            return
        for kind, write in _writes_of(operation, body):
            key = _key_of(kind, write)
            if key is not None and key not in self._learned and is_short(key):
                with self._lock:
                    self._learn(key)

    def _learn(self, key: _Key) -> None:
        if key in self._learned:
            return  # by another thread, meanwhile
        if len(self._learned) == _LEARNED_MAX or len(self._forms) == _FORMS_MAX:
            # Whoever writes a new text each time would keep out the others for ever.
            self._learned.clear()
            self._forms.clear()
        self._learned.add(key)
        form = form_of(*key)
        if form is not None:
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
            tables, forms, known = self._all_known()
            taking = _Taking(
                known,
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
            taken = ctypes.string_at(self._taken, count * TAKEN.size)
            asked = ctypes.string_at(self._asked, count * ASKED.size)
        return taking.left, asked, batch._replace(requests=PlainRequests(taken, bodies, taking.tokens))

    def prepare(self, operation: str, body: bytes, by_python: ByPython) -> Write | None:
        """The write of a request with this body; None where it has to be read by other means.

        What of it the library leaves is prepared `by_python`.
        """
        batch = self._read(operation, body)
        return None if batch is None else Write(partial(_carry_out, batch, by_python))

    def prepare_parsed(self, operation: str, body: dict[str, Any], by_python: ByPython) -> Write | None:
        """As `prepare`, of a body as Python has it."""
        text = text_as_it_is(body) if operation in OPERATIONS else None
        return None if text is None else self.prepare(operation, text, by_python)

    def _read(self, operation: str, body: bytes) -> PlainBatch | None:
        """The writes of one request, None where they are not plain."""
        if self._library is None or operation not in OPERATIONS:
            return None
        number = OPERATIONS.index(operation)
        with self._lock:
            tables, forms, known = self._all_known()
            taken = ctypes.create_string_buffer(TAKEN.size)
            read = ctypes.addressof(taken) + _READ_AT
            room = ctypes.addressof(self._room)
            if not self._library.plain_write(ctypes.byref(known), number, body, len(body), room, _ROOM_BYTES, read):
                return None
            _, _, _, writes, token_bytes, *rest = TAKEN.unpack(taken)
            batch = plain_batches.batch_of(self._library, self._room, writes, tables, forms)
        asked = TAKEN.pack(number, 0, len(body), writes, token_bytes, *rest)
        return batch._replace(requests=PlainRequests(asked, body, 1 if token_bytes else 0))

    def _all_known(self) -> tuple[PlainTables, bytes, _Known]:
        tables, forms = self._known.batched, self._written_forms
        scratch = ctypes.addressof(self._scratch)
        return tables, forms, _Known(tables.names, len(tables.names), forms, len(forms), scratch, _SCRATCH_BYTES)


def _carry_out(batch: PlainBatch, by_python: ByPython, transaction: WriteTransaction) -> Mapping[str, Any] | None:
    """Write the one request of the batch, or have it carried out by Python."""
    if plain_batches.write(transaction, batch) == []:
        return {}
    operation, body = batch.requests.at(0)
    prepared = by_python(operation, orjson.loads(body))
    if not isinstance(prepared, Write):
        raise TypeError(f"expected a write, {operation} was prepared as {prepared!r}")
    return prepared.run(transaction)


def _writes_of(operation: str, body: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A request's writes, each after what it is."""
    if operation != "TransactWriteItems":
        yield operation, body
        return
    for member in body["TransactItems"]:
        yield from ((kind, member[kind]) for kind in _MEMBERS if member.get(kind) is not None)


def _key_of(kind: str, write: Mapping[str, Any]) -> _Key | None:
    """What a form is made of; None where the write has no expression."""
    # In other writes the field is not looked at, and may say anything.
    update = write.get("UpdateExpression") if kind in _UPDATES else None
    condition = write.get("ConditionExpression")
    if update is None and condition is None:
        return None
    return update, condition, tuple((write.get("ExpressionAttributeNames") or {}).items())
