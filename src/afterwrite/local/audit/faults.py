"""What can be wrong with an audit log, and how it is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

FaultKind: TypeAlias = Literal[
    "changed_entry",  # a line's bytes are not those that were hashed
    "broken_link",  # a line is intact, but does not follow from the one before it
    "missing_entry",  # a number is left out
    "misplaced_entry",  # a number comes again, or too late
    "partial_entry",  # the last line is not finished
    "truncated_segment",  # a segment ends before its seal says
    "missing_segment",
    "missing_seal",
    "changed_seal",  # a seal says something else than its segment
    "changed_anchor",
    "truncated_tail",  # the log ends before the head, or before what a digest has signed
    "changed_head",  # the log does not hold the head's entry where the head says
    "changed_digest",  # a digest's bytes are not those that were signed, or not by a trusted key
    "missing_anchor",  # the place for what is anchored has none of the log's digests
    "missing_digest",  # a digest's number is left out, or the last ones are gone
    "swapped_digest",  # a digest is soundly signed, but is not the one that belongs there
    "digest_mismatch",  # the log holds another entry, or another seal, than a digest has signed
    "too_many_faults",  # the verification stopped here
]


@dataclass(frozen=True, slots=True)
class AuditFault:
    """One fault: its kind, the file, the line (from 1; 0 where it is the file as such), and what was expected."""

    kind: FaultKind
    file: str
    line: int
    message: str
