"""Settings: from the environment, the command line and the credentials file to frozen values.

The only reader of os.environ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import orjson

from afterwrite.errors import DeclarationError

if TYPE_CHECKING:
    from pathlib import Path

Durability: TypeAlias = Literal["fsync", "relaxed"]

DEFAULT_LISTEN: Final = "127.0.0.1:4566"
DEFAULT_DATA: Final = "data"
DEFAULT_REGION: Final = "us-east-1"
DEFAULT_ACCOUNT_ID: Final = "000000000000"
DEFAULT_STREAM_SHARDS: Final = 1
STREAM_SHARDS_MAX: Final = 1_000
DEFAULT_SHARD_ROLLOVER_S: Final = 14_400


@dataclass(frozen=True, slots=True)
class Identity:
    """The region and the account that ARNs and events carry."""

    region: str = DEFAULT_REGION
    account_id: str = DEFAULT_ACCOUNT_ID


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine is started with.

    `port` 0 takes a free one, None listens on no socket. `credentials` are secret access keys by access key id;
    None checks no request's signature. `durability` "fsync" answers a write once it is on disk, "relaxed" before,
    and puts it there within a second.

    Audit logs' digests are signed with the key in the file `audit_key`, None: with the directory's own, and kept also
    in `audit_anchor`, a file or s3://BUCKET/PREFIX.

    A new table's stream has `stream_shards` shards; a shard closes after `shard_rollover_s`, 0 for never.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int | None = 0
    identity: Identity = Identity()
    stream_shards: int = DEFAULT_STREAM_SHARDS
    shard_rollover_s: int = DEFAULT_SHARD_ROLLOVER_S
    credentials: Mapping[str, str] | None = field(default=None, repr=False)
    durability: Durability = "fsync"
    audit_key: Path | None = None
    audit_anchor: str | None = None


def load(
    *,
    data: Path | None = None,
    listen: str | None = None,
    credentials: Path | None = None,
    durability: Durability = "fsync",
    audit_key: Path | None = None,
    audit_anchor: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings: what is given, else the environment's (`AFTERWRITE_DATA`, …), else the defaults.

    Raises DeclarationError.
    """
    from pathlib import Path

    environ = os.environ if environ is None else environ
    file = credentials or (Path(given) if (given := environ.get("AFTERWRITE_CREDENTIALS")) else None)
    host, port = _address(listen or environ.get("AFTERWRITE_LISTEN") or DEFAULT_LISTEN, signed=file is not None)
    return Settings(
        data=data or Path(environ.get("AFTERWRITE_DATA") or DEFAULT_DATA),
        host=host,
        port=port,
        identity=Identity(
            region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION,
            account_id=environ.get("AFTERWRITE_ACCOUNT_ID") or DEFAULT_ACCOUNT_ID,
        ),
        stream_shards=_count(environ, "AFTERWRITE_STREAM_SHARDS", 1, STREAM_SHARDS_MAX, DEFAULT_STREAM_SHARDS),
        shard_rollover_s=_count(environ, "AFTERWRITE_SHARD_ROLLOVER_S", 0, 86_400, DEFAULT_SHARD_ROLLOVER_S),
        credentials=None if file is None else read_credentials(file),
        durability=durability,
        audit_key=audit_key or (Path(given) if (given := environ.get("AFTERWRITE_AUDIT_KEY")) else None),
        audit_anchor=audit_anchor or environ.get("AFTERWRITE_AUDIT_ANCHOR") or None,
    )


@dataclass(frozen=True, slots=True)
class AwsSettings:
    """What a Lambda function finds in its environment (docs/aws.md).

    `resources` are where the app's resources are, by `KIND/NAME`. `function` is the declared function that this
    Lambda function runs, and `mapped_function` the one of an event source mapping; both are None where it runs routes.
    `log_keys`: items' keys may appear in the log.
    """

    app: str
    resources: Mapping[str, str]
    function: str | None = None
    mapped_function: str | None = None
    table: str | None = None
    log_keys: bool = False


def load_aws(app: str, environ: Mapping[str, str] | None = None) -> AwsSettings:
    """The settings of a Lambda function that runs the app named `app`. Raises DeclarationError."""
    environ = os.environ if environ is None else environ
    text = environ.get("AFTERWRITE_RESOURCES") or "{}"
    try:
        resources = orjson.loads(text)
    except orjson.JSONDecodeError:
        resources = None
    if not isinstance(resources, dict) or not all(isinstance(where, str) for where in resources.values()):
        raise DeclarationError(
            "expected AFTERWRITE_RESOURCES to be a JSON object from KIND/NAME to where the resource is, such as "
            f'{{"topic/orders": "arn:aws:sns:…"}}, got {len(text)} characters that are none: set it as synth does'
        )
    return AwsSettings(
        app=environ.get("AFTERWRITE_APP") or app,
        resources=resources,
        function=environ.get("AFTERWRITE_FUNCTION") or None,
        mapped_function=environ.get("AFTERWRITE_MAPPED_FUNCTION") or None,
        table=environ.get("AFTERWRITE_TABLE") or None,
        log_keys=environ.get("AFTERWRITE_LOG_KEYS") == "1",
    )


def _count(environ: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise DeclarationError(f"expected a number from {least} to {most} in {name}, got {text!r}")
    return int(text)


def _address(listen: str, *, signed: bool) -> tuple[str, int]:
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise DeclarationError(
            f"expected an address to listen on as HOST:PORT, such as {DEFAULT_LISTEN}, got {listen!r}"
        )
    host = host.strip("[]") or "127.0.0.1"
    if not signed and not _is_loopback(host):
        raise DeclarationError(
            f"expected a loopback address to listen on, such as {DEFAULT_LISTEN}, got {listen!r}: without "
            "--credentials requests' signatures are not checked, so whoever reached the port could read and write "
            "everything"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_credentials(path: Path) -> Mapping[str, str]:
    """Secret access keys by access key id, from a JSON object of them or from the form of ~/.aws/credentials.

    Raises DeclarationError for a file that cannot be read, holds none, or gives one id two secrets. No message
    quotes the file.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DeclarationError(f"cannot read the credentials in {path} ({reason}): check --credentials") from None
    pairs = _json_pairs(text) if text.lstrip().startswith("{") else _profile_pairs(text)
    found: dict[str, str] = {}
    for key_id, secret in pairs or ():
        if found.setdefault(key_id, secret) != secret:
            raise DeclarationError(f"{path} gives the access key id {key_id} two secrets: leave one")
    if not found:
        raise DeclarationError(
            f'expected credentials in {path}, as {{"ACCESS KEY ID": "SECRET ACCESS KEY"}} or as profiles with '
            "aws_access_key_id and aws_secret_access_key, found none that is whole"
        )
    return found


def _json_pairs(text: str) -> list[tuple[str, str]] | None:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    pairs = list(parsed.items())
    return pairs if all(isinstance(secret, str) and key_id and secret for key_id, secret in pairs) else None


def _profile_pairs(text: str) -> list[tuple[str, str]] | None:
    import configparser  # only the engine has such a file, and a cold start on Lambda pays for every import

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error:
        return None
    pairs = [
        (
            parser.get(profile, "aws_access_key_id", fallback=""),
            parser.get(profile, "aws_secret_access_key", fallback=""),
        )
        for profile in parser.sections()
    ]
    return [(key_id, secret) for key_id, secret in pairs if key_id and secret]
