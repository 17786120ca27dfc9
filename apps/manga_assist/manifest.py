"""What the writers wrote, by their own account: one JSON line for each session whose end was acknowledged."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path


@dataclass(frozen=True, slots=True)
class WrittenHandoff:
    """A hand-off under its sort key."""

    sort_key: str
    reason: str
    agent_id: str | None


@dataclass(frozen=True, slots=True)
class WrittenSession:
    """A session from start to end; `turns` are the digests of its turns, in order."""

    session_id: str
    customer_id: str
    turns: tuple[str, ...]
    handoffs: tuple[WrittenHandoff, ...]
    ended_at_ms: int
    retention_s: int
    expires: bool

    @property
    def status_changes(self) -> tuple[tuple[str, str], ...]:
        """The session's changes of status, old and new, in order."""
        path = ["none", "active", *(["handoff"] if self.handoffs else []), "disconnected"]
        return tuple(pairwise(path))

    def to_line(self) -> str:
        """The session as a JSON line."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"


def digest(role: str, text: str) -> str:
    """Tells one turn's content from another's."""
    return hashlib.blake2b(f"{role}\n{text}".encode(), digest_size=12).hexdigest()


def read(paths: Iterable[Path]) -> Iterator[WrittenSession]:
    """The sessions of these manifests."""
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                fields = json.loads(line)
                yield WrittenSession(
                    session_id=fields["session_id"],
                    customer_id=fields["customer_id"],
                    turns=tuple(fields["turns"]),
                    handoffs=tuple(WrittenHandoff(**handoff) for handoff in fields["handoffs"]),
                    ended_at_ms=fields["ended_at_ms"],
                    retention_s=fields["retention_s"],
                    expires=fields["expires"],
                )
