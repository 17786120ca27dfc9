"""The keys of audit logs: the Ed25519 key that signs digests, and whose signatures are trusted.

    keys/audit-signing.pem              the private key (PKCS #8, PEM), readable by its owner only
    keys/audit-<fingerprint>.pub.pem    the public keys (PEM) of all keys that have signed here

A key is named by its fingerprint, the first 16 hex digits of the SHA-256 of its 32 raw public bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from afterwrite.errors import CommandError, StorageError
from afterwrite.store.durable_files import create_directory, storage_errors, sync_directory, write_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNING_KEY: Final = "audit-signing.pem"
_PUBLIC: Final = "audit-*.pub.pem"
_FINGERPRINT_DIGITS: Final = 16


class SigningKey:
    """The key that signs digests."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.fingerprint = fingerprint(key.public_key())

    def sign(self, content: bytes) -> bytes:
        """The 64 bytes of the signature."""
        return self._key.sign(content)


class TrustedKeys:
    """The public keys whose signatures count, by fingerprint."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def has(self, key: str) -> bool:
        """Whether a fingerprint is one of theirs."""
        return key in self._keys

    def signed(self, key: str, signature: bytes, content: bytes) -> bool:
        """Whether `signature` is that key's, of `content`."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._keys[key].verify(signature, content)
        except (InvalidSignature, KeyError):
            return False
        return True


def signing_key(directory: Path, given: Path | None = None) -> SigningKey:
    """The key to sign with: the one `given`, else the directory's, which is made where there is none.

    Its public half is kept in the directory. Raises CommandError for a file that holds no Ed25519 key, StorageError.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = directory / SIGNING_KEY if given is None else given
    with storage_errors(directory):
        create_directory(directory)
        if given is None and not path.exists():
            made = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_file(path, made, mode=0o600)
        key = _private_key(path)
        public = directory / f"audit-{fingerprint(key.public_key())}.pub.pem"
        if not public.exists():
            content = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_file(public, content)
        sync_directory(directory)
    return SigningKey(key)


def trusted_keys(directory: Path, given: Path | None = None) -> TrustedKeys:
    """The key in the file `given` (a public or private key in PEM), else every one that the directory keeps.

    Raises CommandError for a file that holds no Ed25519 key, StorageError.
    """
    with storage_errors(directory):
        paths = sorted(directory.glob(_PUBLIC)) if given is None else [given]
        keys = [_public_key(path) for path in paths]
    return TrustedKeys({fingerprint(key): key for key in keys})


def fingerprint(key: Ed25519PublicKey) -> str:
    """A key's name."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_FINGERPRINT_DIGITS]


def _private_key(path: Path) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except FileNotFoundError:
        raise StorageError(f"expected a signing key in {path}, found no file: check the path") from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CommandError(f"{_WANTED} in {path}, got what is none ({error}): {_REMEDY}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise CommandError(f"{_WANTED} in {path}, got another kind of key: {_REMEDY}")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = path.read_bytes()
    if b"PRIVATE KEY" in content:
        return _private_key(path).public_key()
    try:
        key = load_pem_public_key(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CommandError(f"{_WANTED} in {path}, got what is none ({error}): {_REMEDY}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise CommandError(f"{_WANTED} in {path}, got another kind of key: {_REMEDY}")
    return key


_WANTED: Final = "expected an Ed25519 key in PEM"
_REMEDY: Final = "make one with `openssl genpkey -algorithm ed25519`"
