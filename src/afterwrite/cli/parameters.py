"""Options that several commands share, so that they read and work the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from afterwrite import config

Data: TypeAlias = Annotated[
    Path | None, Parameter(help="The engine's data directory. Default: AFTERWRITE_DATA, else ./data")
]
Flag: TypeAlias = Annotated[bool, Parameter(negative="", show_default=False)]


def data_directory(data: Path | None) -> Path:
    """The data directory that is meant: the one given, else the environment's, else the default."""
    return config.load(data=data).data
