"""Event patterns: EventBridge's language, and the dialects of Lambda filters, Pipes and SNS.

The reference is AWS's own matcher; P1 to P11 (docs/facts.md) are held by tests, on its cases and on recorded verdicts.
"""

from afterwrite.core.patterns.dialects import EVENTBRIDGE, LAMBDA, PIPES, SNS_ATTRIBUTES, SNS_BODY, Dialect
from afterwrite.core.patterns.pattern import Mismatch, Pattern, compile
from afterwrite.core.patterns.pattern_set import PatternSet

__all__ = [
    "EVENTBRIDGE",
    "LAMBDA",
    "PIPES",
    "SNS_ATTRIBUTES",
    "SNS_BODY",
    "Dialect",
    "Mismatch",
    "Pattern",
    "PatternSet",
    "compile",
]
