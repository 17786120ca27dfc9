"""Failures of remote targets: every error of every service is one of five kinds, and the kind decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

FailureKind: TypeAlias = Literal["throttled", "transient", "permission", "missing", "rejected"]


class Directive(NamedTuple):
    """What is done about a kind of failure.

    `again`: it is tried again at once, after a wait. `later`: it may pass without a change of the effect, so another
    delivery may try it; where it may not, the lane is parked without further attempts.
    """

    again: bool
    later: bool
    remedy: str


DIRECTIVES: Final[Mapping[FailureKind, Directive]] = {
    "throttled": Directive(True, True, "raise the target's limits, or lower the batch size and the concurrency"),
    "transient": Directive(True, True, "wait; if it lasts, see whether the service is up and can be reached"),
    "permission": Directive(False, True, "allow the action on the resource in the function's role, then redrive"),
    "missing": Directive(
        False, True, "make the resource, or correct its name in the function's settings, then redrive"
    ),
    "rejected": Directive(False, False, "mend the route, whose effect the service cannot accept, then redrive"),
}

_THROTTLED: Final = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "Throttled",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_TRANSIENT: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "InternalError",
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ModelErrorException",
        "ModelNotReadyException",
        "ModelTimeoutException",
        "OperationAborted",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionConflictException",
    }
)
_PERMISSION: Final = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "KMSAccessDenied",
        "KMSAccessDeniedException",
        "NotAuthorizedException",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_MISSING: Final = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
KIND_OF_CODE: Final[Mapping[str, FailureKind]] = {
    **dict.fromkeys(_THROTTLED, "throttled"),
    **dict.fromkeys(_TRANSIENT, "transient"),
    **dict.fromkeys(_PERMISSION, "permission"),
    **dict.fromkeys(_MISSING, "missing"),
}
"""The kinds of the codes that AWS's services answer with."""
_BY_STATUS: Final[Mapping[int, FailureKind]] = {
    401: "permission",
    403: "permission",
    404: "missing",
    408: "transient",
    409: "transient",
    429: "throttled",
}


DELIVERIES_MAX: Final = 5
"""How many deliveries of a change may fail, of failures that may pass, before its lane is parked."""


@dataclass(frozen=True, slots=True)
class TargetFailure:
    """Why a target did not perform an effect; `code` is the service's name for it, `message` its words."""

    target: str
    kind: FailureKind
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
    return not failure.directive.later or deliveries >= DELIVERIES_MAX


def kind_of(code: str, *, status: int | None = None, sender_fault: bool | None = None) -> FailureKind:
    """The kind of an error by its code, else by its HTTP status, else by whose fault the service says it is.

    What none of them tells is transient where the service may be at fault, and rejected where the request is.
    """
    if (kind := KIND_OF_CODE.get(code)) is not None:
        return kind
    if status is not None:
        return _BY_STATUS.get(status, "transient" if status >= 500 else "rejected")
    return "rejected" if sender_fault else "transient"
