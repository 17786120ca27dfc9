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


@dataclass(frozen=True, slots=True)
class Identity:
    """The region and the account that ARNs and events carry."""

    region: str = DEFAULT_REGION
    account_id: str = DEFAULT_ACCOUNT_ID


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine is started with. `port` 0 takes a free one."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    identity: Identity = Identity()


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
    )


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
