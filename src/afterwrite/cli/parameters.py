"""Options that several commands share, so that they read and work the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from afterwrite import config
from afterwrite.errors import CommandError

Data: TypeAlias = Annotated[
    Path | None, Parameter(help="The engine's data directory. Default: AFTERWRITE_DATA, else ./data")
]
Flag: TypeAlias = Annotated[bool, Parameter(negative="", show_default=False)]
Several: TypeAlias = Annotated[list[str] | None, Parameter(negative="")]


def data_directory(data: Path | None) -> Path:
    """The data directory that is meant: the one given, else the environment's, else the default."""
    return config.load(data=data).data


def moment_ms(option: str, text: str) -> int:
    """The time in ms since the epoch that an option gives as ISO 8601, UTC unless it has an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(
            f"expected an ISO 8601 time as {option}, such as 2026-11-21T17:00:00Z, got {text!r}"
        ) from None
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
