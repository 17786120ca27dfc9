"""Testing apps: transcripts of routes, and faults by name that happen to an engine when a schedule says so."""

from afterwrite.testing.faults import (
    FAULTS,
    POINTS,
    AnswerLost,
    At,
    ClockJump,
    Crash,
    DiskFull,
    Duplicate,
    Fault,
    PartialBatch,
    Poison,
    Rejected,
    Reorder,
    Schedule,
    Slow,
    Throttled,
)
from afterwrite.testing.installing import FaultyEngine, Happened, InjectedFault
from afterwrite.testing.playbook import Playbook, delete, expire, failure, nothing, put
from afterwrite.testing.ports import lasting_port
from afterwrite.testing.processes import EngineProcess
from afterwrite.testing.settling import settle

__all__ = [
    "FAULTS",
    "POINTS",
    "AnswerLost",
    "At",
    "ClockJump",
    "Crash",
    "DiskFull",
    "Duplicate",
    "EngineProcess",
    "Fault",
    "FaultyEngine",
    "Happened",
    "InjectedFault",
    "PartialBatch",
    "Playbook",
    "Poison",
    "Rejected",
    "Reorder",
    "Schedule",
    "Slow",
    "Throttled",
    "delete",
    "expire",
    "failure",
    "lasting_port",
    "nothing",
    "put",
    "settle",
]
