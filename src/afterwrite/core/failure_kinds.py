"""The kinds of failures: what is done about each, what an operator does, and which error code or status is which.

One classification for user code and for targets, on the embedded engine and on Lambda.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["throttled", "unavailable", "permission", "missing", "rejected", "bug"]


@dataclass(frozen=True, slots=True)
class Directive:
    """What is done about failures of a kind, and what an operator does.

    One that is not `retried` is given up at once, where a queue feeds the code. One that is `redelivered` may pass
    without a change of the effect, so that another delivery of a stream's change may try it. One that does not
    `use_attempts` is retried until the message's age runs out (S7). `of_target`: it speaks of the target rather than
    of this message, so the target is spared.
    """

    retried: bool
    redelivered: bool
    uses_attempts: bool
    of_target: bool
    remedy: str


DIRECTIVES: Final[Mapping[Kind, Directive]] = {
    "throttled": Directive(
        retried=True,
        redelivered=True,
        uses_attempts=False,
        of_target=True,
        remedy="the target takes no more at this rate: raise its limit, or lower the concurrency or the batch size",
    ),
    "unavailable": Directive(
        retried=True,
        redelivered=True,
        uses_attempts=True,
        of_target=True,
        remedy="the target failed or did not answer: see that it runs and can be reached, then redrive",
    ),
    "permission": Directive(
        retried=False,
        redelivered=True,
        uses_attempts=True,
        of_target=False,
        remedy="it is not allowed: allow the action on the resource to the role or key that is used, then redrive",
    ),
    "missing": Directive(
        retried=False,
        redelivered=True,
        uses_attempts=True,
        of_target=False,
        remedy="the resource is not there: make it, or correct its name, then redrive",
    ),
    "rejected": Directive(
        retried=False,
        redelivered=False,
        uses_attempts=True,
        of_target=False,
        remedy="the target refuses it and would again: mend the data, or the code that makes it, then redrive",
    ),
    "bug": Directive(
        retried=True,
        redelivered=False,
        uses_attempts=True,
        of_target=False,
        remedy="the code fails on it: mend the code, start the engine with it, then redrive",
    ),
}


def _of_keys(*words: str) -> frozenset[str]:
    """The codes that say so of a key of KMS's: each service has a form of its own, such as `KMS.DisabledException`."""
    forms = ("KMS{}", "KMS{}Exception", "KMS.{}", "KMS.{}Exception", "Kms{}")
    return frozenset(form.format(word) for form in forms for word in words)


_THROTTLED: Final = _of_keys("Throttled", "Throttling") | frozenset(
    {
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
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
_UNAVAILABLE: Final = frozenset(
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
        "ReplicatedWriteConflictException",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "TransactionConflictException",
    }
)
# A key that cannot be used is an operator's to mend, as a right that is missing is.
_PERMISSION: Final = _of_keys(
    "AccessDenied", "Disabled", "InvalidKeyUsage", "InvalidState", "OptInRequired"
) | frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "AccountSuspendedException",
        "AuthorizationError",
        "AuthorizationErrorException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidKMSResourceException",
        "InvalidSecurity",
        "InvalidSignatureException",
        "MailFromDomainNotVerifiedException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
        "NotAuthorizedException",
        "NotAuthorizedForDetailTypeException",
        "NotAuthorizedForSourceException",
        "OptInRequired",
        "RequestExpired",
        "SendingPausedException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_MISSING: Final = _of_keys("NotFound") | frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "NoSuchBucket",
        "NotFound",
        "NotFoundException",
        "QueueDoesNotExist",
        "ResourceNotFoundException",
    }
)
_REJECTED: Final = frozenset(
    {
        "InvalidAccountIdException",
        "InvalidArgument",
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "InvalidRequestException",
        "MalformedDetail",
        "RedactionFailure",
        "SerializationException",
        "ValidationError",
        "ValidationException",
    }
)
KIND_OF_CODE: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(_THROTTLED, "throttled"),
    **dict.fromkeys(_UNAVAILABLE, "unavailable"),
    **dict.fromkeys(_PERMISSION, "permission"),
    **dict.fromkeys(_MISSING, "missing"),
    **dict.fromkeys(_REJECTED, "rejected"),
}
"""The kinds of the codes that AWS's services answer with."""
KIND_OF_STATUS: Final[Mapping[int, Kind]] = {
    **dict.fromkeys((400, 405, 406, 413, 414, 415, 422), "rejected"),
    **dict.fromkeys((401, 403), "permission"),
    **dict.fromkeys((404, 410), "missing"),
    429: "throttled",
    # What took too long, or met another request, passes as a server's error does.
    **dict.fromkeys((408, 409, *range(500, 600)), "unavailable"),
}
"""The kinds of HTTP statuses that tell one."""
