"""The services' dialects of one pattern language, as data: what each service accepts.

What a service's documentation does not list is refused here, so that a pattern that compiles also works there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from afterwrite.core.patterns.numeric import exact_double, five_decimals

OPERATORS = frozenset(
    ("anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard")
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What one service accepts.

    `operators` are the keys of match objects; `anything_but` those that may stand inside `anything-but`;
    `affixes_ignore_case` allows `{"prefix": {"equals-ignore-case": ...}}`; `nested` allows objects below the top
    level; `roots` are the allowed top-level fields (`None`: any), and `roots_are_objects` says that a pattern asks for
    what is in them, never for themselves; `number` makes a number comparable, or says `None` where numeric operators
    cannot see it; `operand_magnitude_max` bounds the operands of `numeric`; `reads_numbers_or_addresses` says that a
    field whose matchers compare numbers compares no addresses (P9).
    """

    name: str
    operators: frozenset[str] = OPERATORS
    anything_but: frozenset[str] = frozenset(("equals-ignore-case", "prefix", "suffix", "wildcard"))
    affixes_ignore_case: bool = True
    nested: bool = True
    roots: frozenset[str] | None = None
    roots_are_objects: bool = False
    number: Callable[[Any], Any] = exact_double
    reads_numbers_or_addresses: bool = True
    operand_magnitude_max: float | None = None
    characters_max: int = 4096
    # How many beginnings of wildcards a text may match at once: of all wildcards of a field together, and of each
    # one by a coarser count. The services refuse more ("fewer wildcard characters or fewer repeating character
    # sequences"). The number is not documented; 11 are refused where recorded (P8).
    field_partial_matches_max: int | None = None
    wildcard_partial_matches_max: int | None = 10


# The reference knows `exactly`, too: a string that is no address, whatever it looks like.
EVENTBRIDGE = Dialect(
    "EventBridge",
    operators=OPERATORS | {"exactly"},
    field_partial_matches_max=10,
    wildcard_partial_matches_max=None,
)

# S17: the filter sees a DynamoDB stream record, all that the Streams API says of it.
LAMBDA = Dialect(
    "Lambda FilterCriteria",
    operators=OPERATORS - {"cidr", "wildcard"},
    anything_but=frozenset(),
    affixes_ignore_case=False,
    roots=frozenset(
        ("awsRegion", "dynamodb", "eventID", "eventName", "eventSource", "eventVersion", "userIdentity"),
    ),
)

# P11
PIPES = Dialect("EventBridge Pipes", operators=OPERATORS - {"wildcard"}, anything_but=frozenset())

# S32
SNS_BODY = Dialect(
    "SNS filter policy on MessageBody",
    anything_but=frozenset(("prefix", "wildcard")),
    affixes_ignore_case=False,
    number=five_decimals,
    operand_magnitude_max=1e9,
    characters_max=256 * 1024,
)

SNS_ATTRIBUTES = Dialect(
    "SNS filter policy on MessageAttributes",
    anything_but=SNS_BODY.anything_but,
    affixes_ignore_case=False,
    nested=False,
    number=five_decimals,
    operand_magnitude_max=1e9,
    characters_max=256 * 1024,
)
