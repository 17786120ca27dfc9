"""What every part of a template shares: names, parameters, conditions, and the resources so far."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from afterwrite.app import App
from afterwrite.errors import DeclarationError
from afterwrite.synth.document import (
    ACCOUNT,
    PARTITION,
    REGION,
    Condition,
    Parameter,
    Ref,
    Resource,
    Resources,
    Text,
    When,
    join,
)

PREFIX_CHARACTERS_MAX: Final = 16
ENTRY_MODULE: Final = "afterwrite_entry"
"""The module of the package that makes the handler."""

# Of a shortened name; enough that two names of one app do not meet.
_DIGEST_CHARACTERS: Final = 8
# PROVIDER.MODEL; an inference profile's id begins with where it leads to.
_MODEL_ID: Final = re.compile(r"(?!(?:us|eu|apac|jp|au|ca|us-gov|global)\.)[a-z0-9-]+\.[A-Za-z0-9.:-]+")

PARAMETERS: Final = (
    Parameter("CodeBucket", "The bucket that holds the package"),
    Parameter("CodeKey", "The package's key; another key for other content, or the functions keep the old code"),
    Parameter("Stage", "The stage, kept as the tag `stage`", "dev", length_max=64),
    Parameter(
        "NamePrefix",
        "Put in front of every name, so that stages can share an account; such as `dev-`",
        "",
        allowed_pattern="^([a-z][a-z0-9-]*)?$",
        length_max=PREFIX_CHARACTERS_MAX,
    ),
    Parameter("AlarmTopicArn", "The SNS topic that alarms notify; empty for none", ""),
    Parameter("FunctionPolicyArn", "A managed policy for what the app's own functions and consumers use beyond it", ""),
    Parameter("Architecture", "The processors that the package is made for", "x86_64", ("x86_64", "arm64")),
    Parameter("MemoryMiB", "Memory of each function", 512, least=128, most=10_240, is_number=True),
    Parameter(
        "LogRetentionDays",
        "How long logs are kept",
        30,
        (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
        is_number=True,
    ),
    Parameter(
        "DeletionProtection", "Whether tables with data refuse to be deleted", "true", allowed_values=("true", "false")
    ),
    Parameter(
        "ReserveConcurrency",
        "Whether functions reserve their concurrency; an account keeps 100 unreserved",
        "true",
        allowed_values=("true", "false"),
    ),
    Parameter(
        "RedriveParked",
        "Whether lanes that are parked by a failure that may pass, such as an outage, are run again every few minutes",
        "true",
        allowed_values=("true", "false"),
    ),
    Parameter(
        "RedriveDeadLetters",
        "Whether functions receive the dead letters of their requests: for as long as they are to run again",
        "false",
        allowed_values=("true", "false"),
    ),
    Parameter(
        "RouteConcurrency",
        "What the routes of a table reserve: its shards times ParallelizationFactor, and 1 for parked lanes",
        10,
        least=1,
        most=1_000,
        is_number=True,
    ),
    Parameter("BatchSize", "Changes a batch", 100, least=1, most=10_000, is_number=True),
    Parameter("BatchWindowSeconds", "How long a batch is gathered, in seconds", 1, least=0, most=300, is_number=True),
    Parameter(
        "ParallelizationFactor",
        "Batches of one shard at a time; above 1 order holds per item, and no longer per partition key",
        1,
        least=1,
        most=10,
        is_number=True,
    ),
    Parameter(
        "RetryAttempts",
        "How often a batch whose function fails is tried again before it goes to the failures bucket",
        100,
        least=0,
        most=10_000,
        is_number=True,
    ),
    Parameter(
        "RecordAgeSeconds",
        "How old a change may get before it goes to the failures bucket; less than the stream keeps it",
        79_200,
        least=60,
        most=604_800,
        is_number=True,
    ),
    Parameter(
        "FailuresKeptDays", "How long the failures bucket keeps a batch", 90, least=1, most=3_650, is_number=True
    ),
)

CONDITIONS: Final = (
    Condition("HasAlarmTopic", "AlarmTopicArn", "", negated=True),
    Condition("HasFunctionPolicy", "FunctionPolicyArn", "", negated=True),
    Condition("ReservesConcurrency", "ReserveConcurrency", "true"),
    Condition("RedrivesDeadLetters", "RedriveDeadLetters", "true"),
    Condition("RedrivesParked", "RedriveParked", "true"),
    Condition("ProtectsTables", "DeletionProtection", "true"),
)


@dataclass(frozen=True, slots=True)
class Options:
    """What is chosen when the template is made.

    `runtime` is Lambda's name for it; `environment` names variables that are passed to every function, each by a
    parameter that has to be given; `pipes` names the tables whose changes come through an EventBridge Pipe; `search`
    maps delivery streams to the OpenSearch index that they fill; `models` gives functions the models of Bedrock that
    they may ask, by id or ARN; with `exact_filters` a route whose guard the service cannot filter by is refused.
    """

    runtime: str = "python3.13"
    environment: tuple[str, ...] = ()
    pipes: frozenset[str] = frozenset()
    search: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exact_filters: bool = False


@dataclass(slots=True)
class Stack:
    """An app on its way to a template: what has been added, by the names that the app knows."""

    app: App
    options: Options
    resources: Resources = field(default_factory=Resources)
    parameters: list[Parameter] = field(default_factory=lambda: list(PARAMETERS))
    notes: list[str] = field(default_factory=list)
    tables: dict[str, Resource] = field(default_factory=dict)
    own_tables: dict[str, Resource] = field(default_factory=dict)
    """The ledger's table and that of parked lanes."""
    streams: dict[str, Resource] = field(default_factory=dict)
    """Kinesis streams, by the table whose changes they keep."""
    kinesis_streams: dict[str, Resource] = field(default_factory=dict)
    """The app's own Kinesis streams."""
    queues: dict[str, Resource] = field(default_factory=dict)
    dead_letter_queues: dict[str, Resource] = field(default_factory=dict)
    """Every queue for dead letters, by its declared name."""
    topics: dict[str, Resource] = field(default_factory=dict)
    buses: dict[str, Resource] = field(default_factory=dict)
    rules: list[Resource] = field(default_factory=list)
    delivery_streams: dict[str, Resource] = field(default_factory=dict)
    audit_buckets: dict[str, Resource] = field(default_factory=dict)
    functions: dict[str, Resource] = field(default_factory=dict)
    """Lambda functions, by the declared function."""
    function_queues: dict[str, Resource] = field(default_factory=dict)
    """Queues that feed functions, by the declared function, where they need more attempts than an invocation has."""
    mapped_functions: dict[str, Resource] = field(default_factory=dict)
    """Lambda functions of event source mappings, by their names."""
    route_functions: dict[str, Resource] = field(default_factory=dict)
    """Lambda functions, by the table whose routes they run."""
    views: dict[str, Ref] = field(default_factory=dict)
    """Where caches and search indexes are, by `KIND/NAME`."""
    search_arns: list[Text] = field(default_factory=list)
    """The search indexes that are written to."""
    mappings: dict[str, Resource] = field(default_factory=dict)
    """Event source mappings of streams, by what they carry, in words."""

    def add(self, id: str, type: str, properties: Mapping[str, Any], **more: Any) -> Resource:
        """Add a resource."""
        return self.resources.add(id, type, properties, **more)


def physical_name(name: str, *, limit: int = 255) -> Text:
    """A declared name on AWS, the stage's prefix in front; one that would be too long ends in a digest of itself."""
    return join(Ref("NamePrefix"), shortened(name, limit - PREFIX_CHARACTERS_MAX))


def check_plain(kind: str, name: str) -> None:
    """Raise DeclarationError for a name that a queue, a topic or a function on AWS cannot have."""
    if "." in name:
        raise DeclarationError(f"expected the {kind}'s name to have no '.' on AWS, got {name!r}: use '-' or '_'")


def shortened(name: str, limit: int) -> str:
    """The name in at most `limit` characters, another one for another name."""
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: limit - _DIGEST_CHARACTERS - 1]}-{digest}"


def model_arn(model: str) -> Text:
    """The ARN of a foundation model by its id, in the stack's region; one that is an ARN already stays as it is.

    Raises DeclarationError for an inference profile's id, as asking through it takes rights on every region's model.
    """
    if model.startswith("arn:"):
        if "*" in model:
            raise DeclarationError(f"expected one model's ARN, got {model!r}: name each model that is asked")
        return model
    if not _MODEL_ID.fullmatch(model):
        raise DeclarationError(
            "expected a foundation model's id such as anthropic.claude-3-haiku-20240307-v1:0, or an ARN, got "
            f"{model!r}: for an inference profile give its ARN and those of the foundation models that it leads to"
        )
    return join("arn:", Ref(PARTITION), ":bedrock:", Ref(REGION), f"::foundation-model/{model}")


def arn(service: str, resource: Text) -> Text:
    """The ARN of a resource in the stack's region and account."""
    return join("arn:", Ref(PARTITION), f":{service}:", Ref(REGION), ":", Ref(ACCOUNT), ":", resource)


def where(condition: str, then: Any, otherwise: Any = None) -> When:
    """A value where the condition holds."""
    return When(condition, then, otherwise)
