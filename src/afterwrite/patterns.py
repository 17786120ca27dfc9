"""Event patterns: whether an event matches, why not, and which of thousands of patterns it matches.

    >>> from afterwrite import patterns
    >>> pattern = patterns.compile({"detail": {"amount": [{"numeric": [">", 100]}]}})
    >>> pattern.matches({"detail": {"amount": 120}})
    True

The language is EventBridge's, as AWS's own matcher understands it; a dialect refuses what its service refuses.
Events are what a JSON parser gives. A pattern that is wrong raises `InvalidPattern`, which names the path, what is
allowed there and what was found. Patterns are immutable and may be used from several threads; a `PatternSet` may be
asked from several threads while nobody changes it.
"""

from afterwrite.core.patterns import (
    EVENTBRIDGE,
    LAMBDA,
    PIPES,
    SNS_ATTRIBUTES,
    SNS_BODY,
    Dialect,
    Mismatch,
    Pattern,
    PatternSet,
    compile,
)
from afterwrite.errors import InvalidPattern

DIALECTS = {
    "eventbridge": EVENTBRIDGE,
    "lambda": LAMBDA,
    "pipes": PIPES,
    "sns-attributes": SNS_ATTRIBUTES,
    "sns-body": SNS_BODY,
}
"""The dialects by the names that the command line uses."""

__all__ = [
    "DIALECTS",
    "EVENTBRIDGE",
    "LAMBDA",
    "PIPES",
    "SNS_ATTRIBUTES",
    "SNS_BODY",
    "Dialect",
    "InvalidPattern",
    "Mismatch",
    "Pattern",
    "PatternSet",
    "compile",
]
