"""Signed digests of an audit log: what it held at a time, each naming the one before, so that they form a chain.

    audit-digest-<number, 20 digits>.json

A digest is one JSON object on one line. Its signature (Ed25519, base64) is of the line's own bytes before
`,"signature":`, so that it can be checked without writing JSON again. The last digest is put elsewhere as well, the
*anchor store*: then nobody who can write to this machine can take back what it says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from afterwrite.core.ports import AnchorStore
from afterwrite.core.times import iso_milliseconds
from afterwrite.errors import AfterwriteError, CorruptData
from afterwrite.local.audit.faults import AuditFault
from afterwrite.local.audit.keys import SigningKey, TrustedKeys
from afterwrite.local.audit.segments import ZERO_HASH, AuditHead, list_segments, seal_path
from afterwrite.store.durable_files import storage_errors, sync_directory, write_file

_LOG = logging.getLogger("afterwrite")

FORMAT: Final = "afterwrite audit digest 1"
INTERVAL_MS: Final = 3_600_000
_RETRY_MS: Final = 60_000
_NAME: Final = re.compile(r"audit-digest-(\d{20})\.json")
_SIGNATURE_KEY: Final = b',"signature":"'
_LINE_END: Final = b'"}\n'


@dataclass(frozen=True, slots=True)
class Digest:
    """What a log held: its last entry's number and hash, and the SHA-256 of the seals since the digest before.

    `previous_digest` is the SHA-256 of the file of the digest before, zeros for the first; `key` the fingerprint of
    the key that signs.
    """

    format: str
    log: str
    number: int
    at: str
    first: int
    last: int
    last_hash: str
    seals: Mapping[str, str]
    previous_digest: str
    previous_signature: str
    key: str


@dataclass(frozen=True, slots=True)
class SignedDigest:
    """A digest with its signature (base64), and the bytes that hold both."""

    digest: Digest
    signature: str
    content: bytes

    @property
    def sha256(self) -> str:
        """What the next digest names it by."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class SignedState:
    """What the digests say of a log: hashes by entry number, seals by segment, each with the digest's file name.

    `through` is the last entry that is signed for, `faults` what is wrong with the digests themselves.
    """

    digests: int = 0
    through: int = 0
    hashes: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    seals: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    faults: Sequence[AuditFault] = ()


def digest_name(number: int) -> str:
    """The file name of the digest `number`."""
    return f"audit-digest-{number:020d}.json"


def list_digests(directory: Path) -> list[tuple[int, Path]]:
    """The directory's digests with their numbers, in order; none where there is no directory yet."""
    if not directory.exists():
        return []
    matches = ((_NAME.fullmatch(path.name), path) for path in directory.iterdir())
    return sorted((int(match[1]), path) for match, path in matches if match and path.is_file())


def encode(digest: Digest, key: SigningKey) -> SignedDigest:
    """The digest, signed."""
    covered = orjson.dumps(asdict(digest))[:-1]
    signature = base64.b64encode(key.sign(covered)).decode()
    return SignedDigest(digest, signature, covered + _SIGNATURE_KEY + signature.encode() + _LINE_END)


def decode(content: bytes) -> SignedDigest:
    """The digest in `content`, its signature not checked. Raises CorruptData."""
    try:
        fields = orjson.loads(content)
        signature = fields.pop("signature")
        digest = Digest(**fields)
        sound = digest.format == FORMAT and isinstance(digest.number, int) and isinstance(digest.last, int)
        if not sound or not isinstance(digest.seals, dict) or not isinstance(signature, str):
            raise TypeError("a field has another type")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptData(f"expected an audit digest, got {content[:80]!r} ({error}): restore the file") from error
    return SignedDigest(digest, signature, content)


def is_signed(signed: SignedDigest, keys: TrustedKeys) -> bool:
    """Whether a trusted key has signed exactly these bytes."""
    covered, separator, _ = signed.content.rpartition(_SIGNATURE_KEY)
    try:
        signature = base64.b64decode(signed.signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    whole = covered + separator + signed.signature.encode() + _LINE_END
    return whole == signed.content and keys.signed(signed.digest.key, signature, covered)


class AuditDigests:
    """Writes a log's digests: one an hour in which entries came, and one when the engine stops. One thread at a time.

    A digest only says what is committed. One that could not be anchored is kept, and anchored a minute later. `kept`
    is what the store says of the last one (`identity`): where that one is gone its number stays free, so that it is
    missed for ever. A key that has signed the last one and is not among the `trusted` ones is told of.
    """

    def __init__(
        self,
        directory: Path,
        log: str,
        key: SigningKey,
        anchor: AnchorStore | None = None,
        *,
        kept: Mapping[str, Any] | None = None,
        trusted: TrustedKeys | None = None,
        interval_ms: int = INTERVAL_MS,
    ) -> None:
        self._directory = directory
        self._log = log
        self._key = key
        self._anchor = anchor
        self._interval_ms = interval_ms
        written = list_digests(directory)
        self._last = decode(written[-1][1].read_bytes()) if written else None
        self._unanchored = [path for _, path in written] if anchor is not None else []
        self._anchored_before = anchor is None
        self._try_anchoring_at_ms = 0
        self._since_ms: int | None = None
        self._number, self._sha256, self._signature = 0, ZERO_HASH, ""
        if self._last is not None:
            self._number, self._sha256 = self._last.digest.number, self._last.sha256
            self._signature = self._last.signature
            if trusted is not None and not trusted.has(self._last.digest.key):
                _LOG.error(
                    "the key that signed the last digest of an audit log is gone, so its signature cannot be checked: "
                    "put its public key back into keys/, or give it to afterwrite audit verify --key",
                    extra={"fields": {"log": log, "key": self._last.digest.key}},
                )
        if kept is not None and kept["number"] > self._number:
            self._number, self._sha256, self._signature = kept["number"], kept["sha256"], ""
            _LOG.error("the last digests of an audit log were removed", extra={"fields": {"log": log, **kept}})

    def due_ms(self, head: AuditHead, now_ms: int) -> int | None:
        """When there is something to do; None where nothing came since the last digest."""
        due = []
        if self._unanchored:
            due.append(self._try_anchoring_at_ms)
        if head.number > self._signed_through:
            if self._since_ms is None:
                # The clock may have been ahead when the last one was written.
                self._since_ms = now_ms if self._last is None else min(now_ms, _ms(self._last.digest.at))
            due.append(self._since_ms + self._interval_ms)
        return min(due, default=None)

    def work(self, head: AuditHead, now_ms: int, *, closing: bool = False) -> SignedDigest | None:
        """Write the digest that is due, if any, and anchor what is not yet anchored."""
        written = None
        due_ms = self.due_ms(head, now_ms)
        is_new = head.number > self._signed_through
        if is_new and due_ms is not None and (closing or now_ms >= due_ms):
            written = self._write(head, now_ms)
        if self._unanchored and (closing or now_ms >= self._try_anchoring_at_ms):
            self._put_in_anchor_store(now_ms)
        return written

    @property
    def _signed_through(self) -> int:
        return 0 if self._last is None else self._last.digest.last

    def _write(self, head: AuditHead, now_ms: int) -> SignedDigest:
        signed = encode(
            Digest(
                format=FORMAT,
                log=self._log,
                number=self._number + 1,
                at=iso_milliseconds(now_ms),
                first=self._signed_through + 1,
                last=head.number,
                last_hash=head.hash,
                seals=self._new_seals(head),
                previous_digest=self._sha256,
                previous_signature=self._signature,
                key=self._key.fingerprint,
            ),
            self._key,
        )
        path = self._directory / digest_name(signed.digest.number)
        with storage_errors(self._directory):
            write_file(path, signed.content, mode=0o444)
            sync_directory(self._directory)
        self._last, self._since_ms = signed, now_ms
        self._number, self._sha256, self._signature = signed.digest.number, signed.sha256, signed.signature
        if self._anchor is not None:
            self._unanchored.append(path)
            self._try_anchoring_at_ms = now_ms
        return signed

    def _new_seals(self, head: AuditHead) -> dict[str, str]:
        """The seals of the segments that were finished since the digest before."""
        segments = list_segments(self._directory)
        follower = dict(zip((path for _, path in segments), (first for first, _ in segments[1:]), strict=False))
        seals: dict[str, str] = {}
        for _, path in segments:
            if path.name != head.segment and self._signed_through < follower.get(path, 0) <= head.number:
                seals[path.name] = hashlib.sha256(seal_path(path).read_bytes()).hexdigest()
        return seals

    def _put_in_anchor_store(self, now_ms: int) -> None:
        if self._anchor is None:
            return
        try:
            if not self._anchored_before:
                latest = self._anchor.latest(self._log)
                done = 0 if latest is None else decode(latest).digest.number
                if latest is not None and self._goes_on_without(done, latest):
                    self._give_up_anchoring(done)
                    return
                self._unanchored = [path for path in self._unanchored if _number(path) > done]
                self._anchored_before = True
            while self._unanchored:
                path = self._unanchored[0]
                self._anchor.put(self._log, _number(path), path.read_bytes())
                del self._unanchored[0]
        except (AfterwriteError, OSError) as error:
            fields = {"log": self._log, "waiting": len(self._unanchored), "error": str(error)}
            _LOG.warning("digests of an audit log could not be anchored: it is tried again", extra={"fields": fields})
            self._try_anchoring_at_ms = now_ms + _RETRY_MS

    def _goes_on_without(self, number: int, anchored: bytes) -> bool:
        """Whether the last digest that is anchored is none that this log had."""
        path = self._directory / digest_name(number)
        return path.read_bytes() != anchored if path.is_file() else number > self._number

    def _give_up_anchoring(self, done: int) -> None:
        """Anchor nothing until the next start: later digests in that place would hide that there were others."""
        self._anchor, self._unanchored = None, []
        _LOG.error(
            "an audit log goes on from before what its anchor store holds, as after a restore, so it is not anchored: "
            "keep that store, and give --audit-anchor another place",
            extra={"fields": {"log": self._log, "anchored": done, "signed": self._number}},
        )


def check(
    directory: Path,
    log: str,
    keys: TrustedKeys,
    anchored: bytes | None = None,
    kept: Mapping[str, Any] | None = None,
) -> SignedState:
    """What the digests in `directory` say, each checked against its signature and the one before it.

    `anchored` is the last digest that is kept elsewhere, `kept` what the store says of the last one (`identity`). To
    be called after these were read, and before the head is: then a digest speaks of nothing beyond the head.
    """
    faults: list[AuditFault] = []
    hashes: dict[int, tuple[str, str]] = {}
    seals: dict[str, tuple[str, str]] = {}
    before: SignedDigest | None = None
    expected, through = 1, 0
    wanted = None if anchored is None else _checked(anchored, "the anchored digest", keys, faults)
    found = list_digests(directory)
    for number, path in found:
        if number > expected:
            message = f"expected the digest {expected}, found {path.name} next: it was removed"
            faults.append(AuditFault("missing_digest", digest_name(expected), 0, message))
            before = None
        signed = _checked(path.read_bytes(), path.name, keys, faults)
        if signed is not None and (reason := _misplaced(signed, log, number, before, number == 1)) is not None:
            faults.append(AuditFault("swapped_digest", path.name, 0, reason))
            signed = None
        if signed is not None:
            through = max(through, signed.digest.last)
            hashes[signed.digest.last] = signed.digest.last_hash, path.name
            seals.update({name: (sha256, path.name) for name, sha256 in signed.digest.seals.items()})
        where = _replaced(path, number, wanted, kept)
        if where is not None and not any(fault.file == path.name for fault in faults):
            message = f"expected the digest that {where} has under this number, found another"
            faults.append(AuditFault("swapped_digest", path.name, 0, message))
        before, expected = signed, number + 1
    if wanted is not None:
        through = max(through, wanted.digest.last)
        hashes.setdefault(wanted.digest.last, (wanted.digest.last_hash, "the anchored digest"))
    known = max(0 if wanted is None else wanted.digest.number, 0 if kept is None else kept["number"])
    if known >= expected:
        message = f"expected digests up to {known}, found them up to {expected - 1}: the last ones were removed"
        faults.append(AuditFault("missing_digest", digest_name(expected), 0, message))
    return SignedState(len(found), through, hashes, seals, faults)


def _checked(content: bytes, name: str, keys: TrustedKeys, faults: list[AuditFault]) -> SignedDigest | None:
    try:
        signed = decode(content)
    except CorruptData as error:
        faults.append(AuditFault("changed_digest", name, 0, str(error)))
        return None
    if is_signed(signed, keys):
        return signed
    reason = (
        "the signature is not of these bytes: it was changed"
        if keys.has(signed.digest.key)
        else f"it is signed with the key {signed.digest.key}, which is not trusted: pass its public key with --key"
    )
    message = f"expected a digest that is signed with a trusted key, found that {reason}"
    faults.append(AuditFault("changed_digest", name, 0, message))
    return None


def _replaced(path: Path, number: int, wanted: SignedDigest | None, kept: Mapping[str, Any] | None) -> str | None:
    """Where another digest is known under this number, None where it is this one."""
    content = path.read_bytes()
    if wanted is not None and wanted.digest.number == number and content != wanted.content:
        return "the anchor store"
    if kept is not None and kept["number"] == number and kept["sha256"] != hashlib.sha256(content).hexdigest():
        return "the data directory's store"
    return None


def _misplaced(signed: SignedDigest, log: str, number: int, before: SignedDigest | None, is_first: bool) -> str | None:
    digest = signed.digest
    if (digest.log, digest.number) != (log, number):
        return f"expected the digest {number} of {log}, found the digest {digest.number} of {digest.log}"
    if before is not None and (digest.previous_digest, digest.previous_signature) != (before.sha256, before.signature):
        return f"expected it to follow the digest {number - 1}, found that it follows another: one of them was replaced"
    if is_first and digest.previous_digest != ZERO_HASH:
        return "expected the first digest to follow none, found that it follows one"
    return None


def identity(signed: SignedDigest) -> Mapping[str, Any]:
    """What the store keeps of the last digest."""
    return {"number": signed.digest.number, "sha256": signed.sha256}


def drop_after(directory: Path, last: int) -> None:
    """Delete the digests that speak of entries after the number `last`, of a copy that ends there."""
    for _, path in list_digests(directory):
        if decode(path.read_bytes()).digest.last > last:
            path.unlink()


def _number(path: Path) -> int:
    return int(path.stem.rpartition("-")[2])


def _ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)
