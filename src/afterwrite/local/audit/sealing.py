"""Entries of forgettable audit logs: encrypted with a key of their lane, which can be destroyed.

An entry's content is encrypted with AES-256-GCM under its lane's *data key*. Data keys are kept in the store, one a
lane and log, encrypted in turn (wrapped) with the key in `keys/audit-wrapping.key`. Without its data key an entry
cannot be read by anybody any more; the line it is in, its hash and all that is signed stay as they are.

    "entry": {"key": "<data key's id>", "sealed": "<base64 of nonce, ciphertext and tag>"}

The effect's id is authenticated with the content, so that none can be moved to another line.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from afterwrite.core import json_text
from afterwrite.core.lanes import lane_and_text
from afterwrite.errors import CorruptData, StorageError
from afterwrite.store import ledger
from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory, write_file
from afterwrite.store.environment import ReadTransaction, WriteTransaction

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

WRAPPING_KEY: Final = "audit-wrapping.key"
FORGOTTEN: Final[Mapping[str, bool]] = {"forgotten": True}
_KEY_BYTES: Final = 32
_KEYS: Final = "audit-key/"
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 16
# Data keys that are at hand; a lane more forgets them all.
_CACHED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class DataKey:
    """A lane's key: its id, as entries name it, and the key wrapped, base64."""

    lane: str
    id: str
    wrapped: str


def data_keys(transaction: ReadTransaction, log: str) -> Iterator[DataKey]:
    """Every data key of a log."""
    return (DataKey(**kept) for _, kept in ledger.notes(transaction, f"{_KEYS}{log}/"))


def keep_key(transaction: WriteTransaction, log: str, key: DataKey) -> None:
    """Keep a lane's data key."""
    ledger.keep_note(transaction, _note(log, key.lane), {"lane": key.lane, "id": key.id, "wrapped": key.wrapped})


def destroy_key(transaction: WriteTransaction, log: str, lane: str) -> None:
    """Destroy a lane's data key: what was encrypted with it cannot be read again."""
    ledger.forget_note(transaction, _note(log, lane))


def _note(log: str, lane: str) -> str:
    return f"{_KEYS}{log}/{hashlib.blake2b(lane.encode(), digest_size=16).hexdigest()}"


def wrapping_key(directory: Path, *, make: bool) -> bytes:
    """The key in `directory` that data keys are wrapped with; with `make` it is made where there is none.

    Raises StorageError where it is missing, CorruptData where the file holds none.
    """
    path = directory / WRAPPING_KEY
    with storage_errors(directory):
        if make and not path.exists():
            create_directory(directory)
            write_file(path, secrets.token_hex(_KEY_BYTES).encode() + b"\n", mode=0o600)
            sync_directory(directory)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise StorageError(
                f"expected the key of the forgettable audit logs in {path}, found no file: restore it from a backup"
            ) from None
    try:
        key = bytes.fromhex(content.decode().strip())
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise CorruptData(f"expected {_KEY_BYTES} bytes as hex digits in {path}: restore it from a backup")
    return key


def key_to_wrap_with(transaction: ReadTransaction, directory: Path) -> bytes:
    """The key in `directory`, which is made where nothing was wrapped with one.

    Another in its place would leave what is encrypted from then on unreadable once the right one is put back. Raises
    StorageError where it is missing, CorruptData where it is another.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    _, kept = next(ledger.notes(transaction, _KEYS), (None, None))
    key = wrapping_key(directory, make=kept is None)
    if kept is not None:
        unwrapped(AESGCM(key), DataKey(**kept))
    return key


class EntrySealer:
    """Encrypts a log's entries. Keys that are new are `unkept` until the caller has kept them in its transaction."""

    def __init__(self, log: str, wrapping: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._log = log
        self._cipher = AESGCM
        self._wrapping = AESGCM(wrapping)
        self._keys: dict[str, tuple[str, AESGCM]] = {}
        self.unkept: list[DataKey] = []

    def seal(self, transaction: ReadTransaction, entry_id: str, text: bytes) -> bytes:
        """The JSON text of the encrypted entry; `text` is an entry with its lane."""
        lane, entry = lane_and_text(text)
        key_id, key = self._key(transaction, lane)
        nonce = os.urandom(_NONCE_BYTES)
        sealed = base64.b64encode(nonce + key.encrypt(nonce, entry, entry_id.encode()))
        return b'{"key":"%b","sealed":"%b"}' % (key_id.encode(), sealed)

    def kept(self) -> None:
        """The new keys are kept."""
        self.unkept.clear()

    def drop_unkept(self) -> None:
        """The new keys were not kept, and none of what they encrypted was."""
        for each in self.unkept:
            self._keys.pop(each.lane, None)
        self.unkept.clear()

    def _key(self, transaction: ReadTransaction, lane: str) -> tuple[str, AESGCM]:
        found = self._keys.get(lane)
        if found is not None:
            return found
        kept = ledger.note(transaction, _note(self._log, lane))
        if kept is not None:
            data_key = unwrapped(self._wrapping, DataKey(**kept))
            found = kept["id"], self._cipher(data_key)
        else:
            key, key_id = secrets.token_bytes(_KEY_BYTES), secrets.token_hex(_ID_BYTES)
            nonce = os.urandom(_NONCE_BYTES)
            wrapped = base64.b64encode(nonce + self._wrapping.encrypt(nonce, key, key_id.encode())).decode()
            self.unkept.append(DataKey(lane, key_id, wrapped))
            found = key_id, self._cipher(key)
        if len(self._keys) >= _CACHED_MAX:
            unkept = {each.lane for each in self.unkept}
            self._keys = {name: kept for name, kept in self._keys.items() if name in unkept}
        self._keys[lane] = found
        return found


def unwrapped(wrapping: AESGCM, key: DataKey) -> bytes:
    """A data key. Raises CorruptData where the wrapping key is another."""
    from cryptography.exceptions import InvalidTag

    raw = base64.b64decode(key.wrapped)
    try:
        return wrapping.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], key.id.encode())
    except InvalidTag:
        raise CorruptData(
            f"expected a data key that is wrapped with the key in {WRAPPING_KEY}, found another: restore that file"
        ) from None


class EntryOpener:
    """Decrypts a log's entries, as far as their keys are there."""

    def __init__(self, transaction: ReadTransaction, log: str, directory: Path) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        kept = list(data_keys(transaction, log))
        wrapping = AESGCM(wrapping_key(directory, make=False)) if kept else None
        self._keys = {} if wrapping is None else {each.id: AESGCM(unwrapped(wrapping, each)) for each in kept}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def open(self, line: dict[str, Any]) -> dict[str, Any]:
        """The line with its entry decrypted: `{"forgotten": true}` where its key was destroyed.

        Raises CorruptData where the content is not what was encrypted.
        """
        from cryptography.exceptions import InvalidTag

        entry = line["entry"]
        if not (isinstance(entry, dict) and entry.keys() == {"key", "sealed"}):
            return line
        key = self._keys.get(entry["key"])
        if key is None:
            return {**line, "entry": dict(FORGOTTEN)}
        try:
            raw = base64.b64decode(entry["sealed"])
            content = key.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], str(line["id"]).encode())
        except (InvalidTag, ValueError):
            raise CorruptData(
                f"expected the entry {line['n']} as it was encrypted, found another: run `afterwrite audit verify`"
            ) from None
        return {**line, "entry": json_text.loads_exactly(content)}
