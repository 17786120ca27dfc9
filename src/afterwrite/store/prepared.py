"""What a request becomes: a read of the store, or a write to be run in the next commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.tables import Catalog

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Runs on a consistent view; answers the body's JSON text."""

    run: Callable[[ReadTransaction, Catalog], bytes]


@dataclass(frozen=True, slots=True)
class Write:
    """Runs in the next commit; answers the body."""

    run: Callable[[WriteTransaction], Mapping[str, Any]]


Prepared: TypeAlias = Read | Write
