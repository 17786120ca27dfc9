"""What a request becomes: a read of the store, a write to be run in the next commit, or a wait for a queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.tables import Catalog

Body: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Read:
    """Runs on a consistent view; answers the body, or its JSON text where that is at hand.

    One that `is_long` may take seconds, and is for where nobody else waits.
    """

    run: Callable[[ReadTransaction, Catalog], bytes | Mapping[str, Any]]
    is_long: bool = False

    def body(self, transaction: ReadTransaction, catalog: Catalog) -> Mapping[str, Any]:
        """The body of the answer."""
        found = self.run(transaction, catalog)
        return orjson.loads(found) if isinstance(found, bytes) else found


@dataclass(frozen=True, slots=True)
class Write:
    """Runs in the next commit; answers the body, None where the answer has none."""

    run: Callable[[WriteTransaction], Mapping[str, Any] | None]


Prepared: TypeAlias = Read | Write


@dataclass(frozen=True, slots=True)
class Poll:
    """Runs in the next commit, and where that finds nothing, whenever `queue` may have something, for `wait_s`.

    `run` answers the body, or None for nothing; `otherwise` is the body when the time is up.
    """

    run: Callable[[WriteTransaction], Mapping[str, Any] | None]
    queue: str
    wait_s: float
    otherwise: Mapping[str, Any]


def unknown_operation(name: str) -> ServiceError:
    """The refusal of an operation that a service does not have here."""
    return ServiceError("UnknownOperationException", f"The operation {name} is not offered")
