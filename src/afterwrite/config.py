"""Settings: from the environment and the command line to frozen values. The only reader of os.environ."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from afterwrite.errors import DeclarationError

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
    """What an engine is started with. `port` 0 takes a free one.

    A new table's stream has `stream_shards` shards; a shard closes after `shard_rollover_s`, 0 for never.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    identity: Identity = Identity()
    stream_shards: int = DEFAULT_STREAM_SHARDS
    shard_rollover_s: int = DEFAULT_SHARD_ROLLOVER_S


def load(*, data: Path | None = None, listen: str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings: what is given, else `AFTERWRITE_DATA` and `AFTERWRITE_LISTEN`, else the defaults."""
    environ = os.environ if environ is None else environ
    host, port = _address(listen or environ.get("AFTERWRITE_LISTEN") or DEFAULT_LISTEN)
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
    )


def _count(environ: Mapping[str, str], name: str, least: int, most: int, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise DeclarationError(f"expected a number from {least} to {most} in {name}, got {text!r}")
    return int(text)


def _address(listen: str) -> tuple[str, int]:
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise DeclarationError(
            f"expected an address to listen on as HOST:PORT, such as {DEFAULT_LISTEN}, got {listen!r}"
        )
    host = host.strip("[]") or "127.0.0.1"
    if not _is_loopback(host):
        raise DeclarationError(
            f"expected a loopback address to listen on, such as {DEFAULT_LISTEN}, got {listen!r}: requests' signatures "
            "are not checked, so whoever reached the port could read and write everything"
        )
    return host, int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
