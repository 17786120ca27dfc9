"""Failures of remote targets: every error of every service is one of the kinds of `core/failure_kinds`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from afterwrite.core.failure_kinds import DIRECTIVES, KIND_OF_CODE, KIND_OF_STATUS, Directive, Kind

DELIVERIES_MAX: Final = 5
"""How many deliveries of a change may fail, of failures that may pass, before its lane is parked."""


@dataclass(frozen=True, slots=True)
class TargetFailure:
    """Why a target did not perform an effect; `code` is the service's name for it, `message` its words."""

    target: str
    kind: Kind
    code: str
    message: str

    @property
    def directive(self) -> Directive:
        """What is done about it."""
        return DIRECTIVES[self.kind]

    @property
    def reason(self) -> str:
        """What came, and what to do, in words. The service's own words may quote the effect."""
        return f"{self.target}: {self.code}: {self.message} ({self.directive.remedy})"


def is_final(failure: TargetFailure, deliveries: int) -> bool:
    """Whether a change whose `deliveries`-th delivery failed so is given up, and its lane parked."""
    return not failure.directive.redelivered or deliveries >= DELIVERIES_MAX


def kind_of_code(code: str, *, status: int | None = None, sender_fault: bool | None = None) -> Kind:
    """The kind of an error by its code, else by its HTTP status, else by whose fault the service says it is.

    What none of them tells is unavailable where the service may be at fault, and rejected where the request is.
    """
    if (kind := KIND_OF_CODE.get(code)) is not None:
        return kind
    if status is not None:
        return KIND_OF_STATUS.get(status, "rejected")
    return "rejected" if sender_fault else "unavailable"
