"""Lambda functions: one for the routes of each table, one for each function and consumer, each with its own role."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Final

from afterwrite.app import Function, Table
from afterwrite.core import json_text
from afterwrite.errors import DeclarationError
from afterwrite.synth import iam, messages
from afterwrite.synth.document import Attribute, JsonText, Parameter, Ref, Resource, Text, join, logical_id
from afterwrite.synth.stack import ENTRY_MODULE, Stack, model_arn, physical_name, where
from afterwrite.synth.tables import LEDGER, PARKED, has_routes

_FUNCTION_NAME_MAX: Final = 64
_TIMEOUT_S_MAX: Final = 900
_RETRIES_MAX: Final = 2
# When the last retry of an asynchronous invocation comes, after a first attempt that ends at once (S35).
_LAST_RETRY_S: Final = {0: math.inf, 1: 60, 2: 180}
# How long an asynchronous invocation is tried again: as long as Lambda can (S35).
_EVENT_AGE_S: Final = 21_600
_CONSUMERS_MIN: Final = 2
_CONSUMERS_MAX: Final = 1_000
ROUTES_TIMEOUT_S: Final = 300
INVOCATIONS: Final = "Invocations"
"""How the id of a function's settings for asynchronous invocations ends; the function's id is before it."""
_ENVIRONMENT_BYTES_MAX: Final = 4_096
# What a queue's URL, which is the longest of what a reference may be, has beside the name as it is declared: where the
# region's SQS is, the account, the stage's prefix and a suffix.
_URL_CHARACTERS: Final = 80
# For the variables beside the resources.
_ENVIRONMENT_BYTES_LEFT: Final = 512
_VARIABLE: Final = re.compile(r"(?!AWS_|LAMBDA_|AFTERWRITE_)[A-Za-z][A-Za-z0-9_]+")


def add_functions(stack: Stack) -> None:
    """The app's functions and consumers."""
    for name in stack.options.environment:
        if not _VARIABLE.fullmatch(name):
            raise DeclarationError(
                "expected a variable's name of letters, digits and _, a letter first, that is not one of Lambda's "
                f"(AWS_…, LAMBDA_…) or of afterwrite's (AFTERWRITE_…), got {name!r}: give the variable another name"
            )
    stack.parameters.extend(
        Parameter(_parameter_of(name), f"The environment variable {name} of every function")
        for name in stack.options.environment
    )
    unknown = sorted(set(stack.options.models) - {function.name for function in stack.app.functions})
    if unknown:
        raise DeclarationError(
            f"expected functions of the app to give models to, got {', '.join(unknown)}: choose among "
            f"{', '.join(function.name for function in stack.app.functions) or 'none, as it declares none'}"
        )
    for function in stack.app.functions:
        if function.timeout_s > _TIMEOUT_S_MAX:
            raise DeclarationError(
                f"expected timeout_s of at most {_TIMEOUT_S_MAX} for {function.name} on AWS, got {function.timeout_s}: "
                "split what it does"
            )
        if function.exhausted == "park" or function.policy.age_ms_max is not None:
            stack.notes.append(
                f'{function.name}: what it fails on goes to its dead letters after its attempts; exhausted="park" and '
                "age_max_s are the embedded engine's"
            )
        if function.pipe is not None:
            _add_function(stack, function, [], where("ReservesConcurrency", function.concurrency))
        elif function.queue is not None:
            _add_consumer(stack, function, stack.queues[function.queue_name])
        elif function.policy.attempts_max - 1 > _RETRIES_MAX:
            queue = messages.add_function_queue(stack, function, _visibility_timeout_s(function))
            stack.function_queues[function.name] = queue
            _add_consumer(stack, function, queue)
        else:
            _add_invoked(stack, function)


def _add_invoked(stack: Stack, function: Function) -> None:
    retries = function.policy.attempts_max - 1
    if function.timeout_s > _LAST_RETRY_S[retries]:
        stack.notes.append(
            f"{function.name}: an attempt whose process ends keeps its request for timeout_s={function.timeout_s:g}, "
            f"but Lambda's last retry comes {_LAST_RETRY_S[retries]} s later: the request is among the dead letters "
            f"then; with retries={_RETRIES_MAX + 1} or more a queue feeds the function, and waits"
        )
    dead_letters = messages.add_dead_letters(
        stack, function.queue_name, of_app=True, visibility_timeout_s=_visibility_timeout_s(function)
    )
    statements = [iam.allow("SendDeadLetters", dead_letters.arn), iam.allow("ReceiveMessages", dead_letters.arn)]
    concurrency = where("ReservesConcurrency", function.concurrency)
    lambda_ = _add_function(stack, function, statements, concurrency)
    stack.add(
        lambda_.id + INVOCATIONS,
        "AWS::Lambda::EventInvokeConfig",
        {
            "FunctionName": lambda_.ref,
            "Qualifier": "$LATEST",
            "MaximumRetryAttempts": retries,
            "MaximumEventAgeInSeconds": _EVENT_AGE_S,
            "DestinationConfig": {"OnFailure": {"Destination": dead_letters.arn}},
        },
    )
    # Its own dead letters are a queue of it that is opened when they are to run again.
    enabled = where("RedrivesDeadLetters", then=True, otherwise=False)
    _add_receiving(stack, f"{lambda_.id}DeadLetterMessages", lambda_, dead_letters, _consumers(function), enabled)


def _visibility_timeout_s(function: Function) -> int:
    """How long a message that the function has received stays away from others."""
    return math.ceil(function.timeout_s) + messages.VISIBILITY_MARGIN_S


def _consumers(function: Function) -> int:
    return min(max(function.concurrency, _CONSUMERS_MIN), _CONSUMERS_MAX)


def _add_consumer(stack: Stack, function: Function, queue: Resource) -> None:
    consumers = _consumers(function)
    if consumers != function.concurrency:
        stack.notes.append(
            f"{function.name}: up to {consumers:,} run at once, as a queue's mapping runs {_CONSUMERS_MIN} to "
            f"{_CONSUMERS_MAX:,}; concurrency={function.concurrency} is declared"
        )
    concurrency = where("ReservesConcurrency", consumers)
    lambda_ = _add_function(stack, function, [iam.allow("ReceiveMessages", queue.arn)], concurrency)
    _add_receiving(stack, f"{lambda_.id}Messages", lambda_, queue, consumers)


def _add_receiving(
    stack: Stack, id: str, lambda_: Resource, queue: Resource, consumers: int, enabled: Any = None
) -> None:
    """Let the function receive a queue's messages, `consumers` at a time."""
    stack.add(
        id,
        "AWS::Lambda::EventSourceMapping",
        {
            "EventSourceArn": queue.arn,
            "FunctionName": lambda_.ref,
            "Enabled": enabled,
            # A receive is counted for the message that is tried, and for no neighbour (S33).
            "BatchSize": 1,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
            "ScalingConfig": {"MaximumConcurrency": consumers},
            "MetricsConfig": {"Metrics": ["EventCount"]},
        },
    )


def _add_function(stack: Stack, function: Function, statements: Sequence[dict[str, Any]], concurrency: Any) -> Resource:
    tables: list[Text] = [stack.tables[table.name].arn for table in stack.app.tables]
    tables += [join(stack.tables[table.name].arn, "/index/*") for table in stack.app.tables if table.indexes]
    allowed = [iam.allow("UseTables", *tables)] if tables else []
    if models := stack.options.models.get(function.name):
        allowed.append(iam.allow("AskModels", *map(model_arn, models)))
    resources = {f"table/{table.name}": stack.tables[table.name].ref for table in stack.app.tables}
    lambda_ = _lambda(
        stack,
        logical_id(function.name, "Function"),
        physical_name(f"{stack.app.name}-{function.name}", limit=_FUNCTION_NAME_MAX),
        f"{stack.app.name}: {function.name}",
        statements=[
            *statements,
            *allowed,
            iam.allow("KeepLedger", stack.own_tables[LEDGER].arn),
            *iam.sending(function.sends),
        ],
        variables={"AFTERWRITE_FUNCTION": function.name},
        resources={**resources, LEDGER: stack.own_tables[LEDGER].ref},
        timeout_s=math.ceil(function.timeout_s),
        concurrency=concurrency,
        managed_policies=where("HasFunctionPolicy", [Ref("FunctionPolicyArn")]),
    )
    stack.functions[function.name] = lambda_
    return lambda_


def add_route_functions(stack: Stack, failures: Resource) -> None:
    """A function for the routes of each table. Everything that an effect may ask for has to be there already."""
    for table in stack.app.tables:
        if has_routes(table):
            stack.route_functions[table.name] = _lambda(
                stack,
                logical_id(table.name, "Routes"),
                physical_name(f"{stack.app.name}-routes-{table.name.replace('.', '-')}", limit=_FUNCTION_NAME_MAX),
                f"{stack.app.name}: the routes of {table.name}",
                statements=[*_reading(stack, table, failures), *_effects(stack)],
                variables={"AFTERWRITE_TABLE": table.name},
                resources=_effect_resources(stack, table),
                timeout_s=ROUTES_TIMEOUT_S,
                concurrency=where("ReservesConcurrency", Ref("RouteConcurrency")),
            )


def _reading(stack: Stack, table: Table, failures: Resource) -> list[dict[str, Any]]:
    if table.name in stack.options.pipes:
        return []
    stream = stack.streams.get(table.name)
    if stream is not None:
        reads = iam.reading_kinesis(stream.arn)
    else:
        reads = iam.reading_stream(Attribute(stack.tables[table.name].id, "StreamArn"))
    return [*reads, *iam.keeping_failures(failures.arn)]


def add_mapped_function(stack: Stack, name: str, timeout_s: float, statements: Sequence[dict[str, Any]]) -> Resource:
    """The function of an event source mapping, which gets the event as it is."""
    lambda_ = stack.mapped_functions[name] = _lambda(
        stack,
        logical_id(name, "MappedFunction"),
        physical_name(f"{stack.app.name}-mapped-{name}", limit=_FUNCTION_NAME_MAX),
        f"{stack.app.name}: {name}, on streams",
        statements=statements,
        variables={"AFTERWRITE_MAPPED_FUNCTION": name},
        resources={},
        timeout_s=math.ceil(timeout_s),
        concurrency=None,
        managed_policies=where("HasFunctionPolicy", [Ref("FunctionPolicyArn")]),
    )
    return lambda_


def _invoked_by_routes(stack: Stack) -> list[Function]:
    return [function for function in stack.app.functions if function.queue is None and function.pipe is None]


def _effects(stack: Stack) -> list[dict[str, Any]]:
    """Whatever a route of the app may ask for; which one does is known only when it runs."""
    targets: dict[str, list[Text]] = {
        "PublishMessages": [topic.ref for topic in stack.topics.values()],
        "PutEvents": [bus.arn for bus in stack.buses.values()],
        "SendMessages": [queue.arn for queue in (*stack.queues.values(), *stack.function_queues.values())],
        "DeliverRecords": [stream.arn for stream in stack.delivery_streams.values()],
        "AppendAudit": [iam.below(bucket.arn) for bucket in stack.audit_buckets.values()],
        "InvokeFunctions": [
            stack.functions[function.name].arn
            for function in _invoked_by_routes(stack)
            if function.name not in stack.function_queues
        ],
        "WriteSearchIndexes": stack.search_arns,
    }
    return [
        *(iam.allow(what, *arns) for what, arns in targets.items() if arns),
        iam.allow("KeepLedger", stack.own_tables[LEDGER].arn),
        iam.allow("ParkLanes", stack.own_tables[PARKED].arn),
    ]


def _effect_resources(stack: Stack, table: Table) -> dict[str, Text]:
    found: dict[str, Text] = {f"table/{table.name}": stack.tables[table.name].ref}
    for kind, named in (
        ("queue", stack.queues),
        ("topic", stack.topics),
        ("bus", stack.buses),
        ("delivery_stream", stack.delivery_streams),
        ("audit_log", stack.audit_buckets),
    ):
        found.update({f"{kind}/{name}": resource.ref for name, resource in named.items()})
    for function in _invoked_by_routes(stack):
        # Of a queue that is its URL, of a function its name.
        by_queue = stack.function_queues.get(function.name)
        found[f"function/{function.name}"] = (by_queue or stack.functions[function.name]).ref
    found.update(stack.views)
    return {**found, LEDGER: stack.own_tables[LEDGER].ref, PARKED: stack.own_tables[PARKED].ref}


def _lambda(
    stack: Stack,
    id: str,
    name: Text,
    description: str,
    *,
    statements: Sequence[dict[str, Any]],
    variables: dict[str, str],
    resources: dict[str, Text],
    timeout_s: int,
    concurrency: Any,
    managed_policies: Any = None,
) -> Resource:
    log_group = stack.add(
        f"{id}Log",
        "AWS::Logs::LogGroup",
        {"LogGroupName": join("/aws/lambda/", name), "RetentionInDays": Ref("LogRetentionDays")},
    )
    writes = iam.allow("WriteLogs", log_group.arn)
    role = iam.role(
        stack,
        f"{id}Role",
        "lambda.amazonaws.com",
        description,
        [writes, *statements],
        managed_policies=managed_policies,
    )
    environment: dict[str, Any] = {
        "AFTERWRITE_APP": physical_name(stack.app.name),
        **variables,
        "AFTERWRITE_RESOURCES": JsonText(resources),
        **{name: Ref(_parameter_of(name)) for name in stack.options.environment},
    }
    _check_size(description, resources)
    return stack.add(
        id,
        "AWS::Lambda::Function",
        {
            "FunctionName": name,
            "Description": description,
            "Runtime": stack.options.runtime,
            "Architectures": [Ref("Architecture")],
            "Handler": f"{ENTRY_MODULE}.handler",
            "Code": {"S3Bucket": Ref("CodeBucket"), "S3Key": Ref("CodeKey")},
            "Role": role.arn,
            "MemorySize": Ref("MemoryMiB"),
            "Timeout": timeout_s,
            "ReservedConcurrentExecutions": concurrency,
            "LoggingConfig": {"LogGroup": log_group.ref, "LogFormat": "JSON"},
            "Environment": {"Variables": environment},
        },
    )


def _parameter_of(variable: str) -> str:
    return logical_id(*(word.lower() for word in variable.split("_")))


def _check_size(description: str, resources: dict[str, Text]) -> None:
    shown = {
        name: value if isinstance(value, str) else "." * (_URL_CHARACTERS + len(name.partition("/")[2]))
        for name, value in resources.items()
    }
    size = len(json_text.dumps(shown))
    if size > _ENVIRONMENT_BYTES_MAX - _ENVIRONMENT_BYTES_LEFT:
        raise DeclarationError(
            f"the names of what {description!r} may use need about {size} bytes, of which Lambda's environment has "
            f"{_ENVIRONMENT_BYTES_MAX}: split the app"
        )
