"""Queues with their dead letters, topics with their subscriptions, buses with their rules and archives."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Final

from afterwrite.app import DEAD_LETTERS, Bus, DeliveryStream, Function, Queue, Rule, Topic
from afterwrite.core import json_text
from afterwrite.core.patterns import EVENTBRIDGE, compile
from afterwrite.core.patterns.dialects import OPERATORS
from afterwrite.errors import DeclarationError, InvalidPattern
from afterwrite.synth import iam
from afterwrite.synth.document import JsonObject, Resource, Text, join, logical_id
from afterwrite.synth.stack import Stack, arn, check_plain, physical_name, shortened

QUEUE_NAME_MAX: Final = 80
_BUS_NAME_MAX: Final = 256
_ARCHIVE_NAME_MAX: Final = 48
_EVERY_ACCOUNTS_BUS: Final = "default"
_KEPT_S: Final = 14 * 86_400
"""How long queues keep a message: as long as SQS can."""
VISIBILITY_MARGIN_S: Final = 30
FIFO: Final = ".fifo"
_RECEIVES_MAX: Final = 1_000
_EVENT_AGE_S: Final = 86_400
_RULE_RETRIES: Final = 185
_RULE_TARGETS_MAX: Final = 5
_TARGET_ID_MAX: Final = 64
_PATTERN_CHARACTERS: Final = 2_048
# The matcher that AWS publishes knows one operator more than the service documents.
_DOCUMENTED: Final = dataclasses.replace(EVENTBRIDGE, operators=OPERATORS)


def add_dead_letters(
    stack: Stack, name: str, *, of_app: bool = False, visibility_timeout_s: int | None = None
) -> Resource:
    """The queue for the dead letters of `name`; the app's name is in front where `name` is unique in the app only.

    `visibility_timeout_s` is needed where a function may receive them.
    """
    own = f"{stack.app.name}-{name}" if of_app else name
    queue = stack.add(
        logical_id(name, "DeadLetters"),
        "AWS::SQS::Queue",
        {
            "QueueName": physical_name(own.replace(".", "-") + DEAD_LETTERS, limit=QUEUE_NAME_MAX),
            "VisibilityTimeout": visibility_timeout_s,
            "MessageRetentionPeriod": _KEPT_S,
            "SqsManagedSseEnabled": True,
        },
        retain=True,
    )
    stack.dead_letter_queues[name + DEAD_LETTERS] = queue
    return queue


def add_function_queue(stack: Stack, function: Function, visibility_timeout_s: int) -> Resource:
    """The FIFO queue that feeds a function, in order per key, with its dead letters."""
    receives = _receives(stack, function.name, function.policy.attempts_max)
    # Queues are named within the account, functions within the app.
    own = f"{stack.app.name}-{function.queue_name}"
    return _add_fifo(stack, function.queue_name, own, function.dead_letter_queue, visibility_timeout_s, receives)


def _receives(stack: Stack, name: str, declared: int) -> int:
    """How often a message is received at most, of the attempts that are declared."""
    if declared > _RECEIVES_MAX:
        stack.notes.append(
            f"{name}: what failed {_RECEIVES_MAX:,} times goes to the dead letters, as SQS counts no further; "
            f"{declared:,} attempts are declared"
        )
    return min(declared, _RECEIVES_MAX)


def _add_fifo(
    stack: Stack, name: str, on_aws: str, dead_letters_name: str, visibility_timeout_s: int, receives: int
) -> Resource:
    """A FIFO queue with its dead letters, by its declared name and by that on AWS, without the suffix."""
    properties = {"FifoQueue": True, "MessageRetentionPeriod": _KEPT_S, "SqsManagedSseEnabled": True}
    dead_letters = stack.add(
        logical_id(name, "DeadLetters"),
        "AWS::SQS::Queue",
        {"QueueName": _fifo_name(on_aws + DEAD_LETTERS), **properties},
        retain=True,
    )
    stack.dead_letter_queues[dead_letters_name] = dead_letters
    return stack.add(
        logical_id(name, "Queue"),
        "AWS::SQS::Queue",
        {
            "QueueName": _fifo_name(on_aws),
            **properties,
            "VisibilityTimeout": visibility_timeout_s,
            # Effects bring their ids for it, a rule's events bring none.
            "ContentBasedDeduplication": True,
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "RedrivePolicy": JsonObject({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": receives}),
        },
    )


def _fifo_name(name: str) -> Text:
    return join(physical_name(name.replace(".", "-"), limit=QUEUE_NAME_MAX - len(FIFO)), FIFO)


def add_queues(stack: Stack) -> None:
    """The app's queues, each with its dead letter queue; one whose name ends in `.fifo` is a FIFO queue, as here."""
    timeouts = {each.queue.name: each.timeout_s for each in stack.app.functions if each.queue is not None}
    for queue in stack.app.queues:
        check_plain("queue", queue.name.removesuffix(FIFO))
        # A message must not come again while its consumer runs: the mapping waits before it starts the consumer.
        least_s = timeouts[queue.name] + VISIBILITY_MARGIN_S if queue.name in timeouts else 0
        visibility_timeout_s = math.ceil(max(queue.visibility_timeout_s, least_s))
        receives = _receives(stack, queue.name, queue.max_receives)
        if queue.name.endswith(FIFO):
            names = queue.name, queue.name.removesuffix(FIFO), queue.name + DEAD_LETTERS
            stack.queues[queue.name] = _add_fifo(stack, *names, visibility_timeout_s, receives)
            continue
        dead_letters = add_dead_letters(stack, queue.name)
        stack.queues[queue.name] = stack.add(
            logical_id(queue.name, "Queue"),
            "AWS::SQS::Queue",
            {
                "QueueName": physical_name(queue.name, limit=QUEUE_NAME_MAX),
                "VisibilityTimeout": visibility_timeout_s,
                "MessageRetentionPeriod": _KEPT_S,
                "RedrivePolicy": JsonObject({"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": receives}),
                "SqsManagedSseEnabled": True,
            },
        )


def add_topics(stack: Stack) -> None:
    """The app's topics; what a subscription cannot deliver goes to the topic's dead letters."""
    for topic in stack.app.topics:
        check_plain("topic", topic.name)
        stack.topics[topic.name] = resource = stack.add(
            logical_id(topic.name, "Topic"),
            "AWS::SNS::Topic",
            {"TopicName": physical_name(topic.name), "KmsMasterKeyId": "alias/aws/sns"},
        )
        if topic.subscriptions:
            _subscribe(stack, topic, resource, add_dead_letters(stack, f"topic-{topic.name}"))


def _subscribe(stack: Stack, topic: Topic, resource: Resource, dead_letters: Resource) -> None:
    _queue_policy(
        stack, dead_letters, [iam.may_send("TopicMaySend", "sns.amazonaws.com", dead_letters.arn, [resource.ref])]
    )
    for subscription in topic.subscriptions:
        if subscription.queue.name.endswith(FIFO):
            raise DeclarationError(
                f"expected a queue without the suffix {FIFO} to subscribe to the topic {topic.name}, got "
                f"{subscription.queue.name!r}: a standard topic on AWS delivers to standard queues only; send to the "
                "queue from the route, or name it without the suffix"
            )
        policy = subscription.filter_policy
        stack.add(
            logical_id(topic.name, "To", subscription.queue.name),
            "AWS::SNS::Subscription",
            {
                "TopicArn": resource.ref,
                "Protocol": "sqs",
                "Endpoint": stack.queues[subscription.queue.name].arn,
                # Raw delivery would leave out the subject.
                "RawMessageDelivery": False,
                "FilterPolicyScope": None if policy is None else policy.scope,
                "FilterPolicy": None if policy is None else JsonObject(policy.source),
                "RedrivePolicy": JsonObject({"deadLetterTargetArn": dead_letters.arn}),
            },
        )


def add_buses(stack: Stack) -> None:
    """The app's buses with rules and archives; what a rule cannot deliver goes to the bus's dead letters.

    The functions that rules invoke have to be there already.
    """
    for bus in stack.app.buses:
        if bus.name == _EVERY_ACCOUNTS_BUS:
            stack.notes.append(f"{bus.name}: every account has a bus of this name: give a NamePrefix, or rename it")
        stack.buses[bus.name] = resource = stack.add(
            logical_id(bus.name, "Bus"), "AWS::Events::EventBus", {"Name": physical_name(bus.name, limit=_BUS_NAME_MAX)}
        )
        if bus.archive_days is not None:
            stack.add(
                logical_id(bus.name, "Archive"),
                "AWS::Events::Archive",
                {
                    "ArchiveName": physical_name(bus.name, limit=_ARCHIVE_NAME_MAX),
                    "Description": f"The events of {bus.name}, to be replayed",
                    "SourceArn": resource.arn,
                    "RetentionDays": bus.archive_days,
                },
            )
        if bus.rules:
            _add_rules(stack, bus, resource)


def _add_rules(stack: Stack, bus: Bus, resource: Resource) -> None:
    dead_letters = add_dead_letters(stack, f"bus-{bus.name}")
    streams = sorted({each.name for rule in bus.rules for each in rule.targets if isinstance(each, DeliveryStream)})
    role = None
    if streams:
        role = iam.role(
            stack,
            logical_id(bus.name, "RulesRole"),
            "events.amazonaws.com",
            f"Rules of {bus.name} deliver events",
            [iam.allow("DeliverEvents", *(stack.delivery_streams[name].arn for name in streams))],
        )
    rules = []
    for rule in bus.rules:
        _check_rule(stack, rule)
        rules.append(_rule(stack, bus, rule, resource, dead_letters, role))
    stack.rules.extend(rules)
    may_send = iam.may_send("RulesMaySend", "events.amazonaws.com", dead_letters.arn, [each.arn for each in rules])
    _queue_policy(stack, dead_letters, [may_send])


def _check_rule(stack: Stack, rule: Rule) -> None:
    if len(rule.targets) > _RULE_TARGETS_MAX:
        raise DeclarationError(
            f"expected at most {_RULE_TARGETS_MAX} targets of the rule {rule.name} on AWS, got "
            f"{len(rule.targets)}: declare a second rule with the same pattern"
        )
    try:
        compile(rule.source, _DOCUMENTED)
    except InvalidPattern as refusal:
        raise DeclarationError(f"the rule {rule.name} would not match on AWS as it does here: {refusal}") from None
    if len(json_text.dumps(rule.source)) > _PATTERN_CHARACTERS:
        stack.notes.append(
            f"the rule {rule.name}: a pattern of more than {_PATTERN_CHARACTERS} characters needs a larger quota of "
            "EventBridge's"
        )


def _rule(
    stack: Stack, bus: Bus, rule: Rule, bus_resource: Resource, dead_letters: Resource, role: Resource | None
) -> Resource:
    targets = []
    for target in rule.targets:
        fields: dict[str, Any] = {
            "Id": shortened(f"{type(target).__name__.lower()}-{target.name}", _TARGET_ID_MAX),
            "Arn": _target_arn(stack, target),
            "DeadLetterConfig": {"Arn": dead_letters.arn},
            "RetryPolicy": {"MaximumEventAgeInSeconds": _EVENT_AGE_S, "MaximumRetryAttempts": _RULE_RETRIES},
        }
        if isinstance(target, DeliveryStream) and role is not None:
            fields["RoleArn"] = role.arn
        if _is_fifo(stack, target):
            stack.notes.append(
                f"{rule.name}: its events reach {target.name} one after the other, and one that fails holds up the "
                "others, as a rule has one message group for all"
            )
            fields["SqsParameters"] = {"MessageGroupId": rule.name}
        targets.append(fields)
    resource = stack.add(
        logical_id(bus.name, rule.name, "Rule"),
        "AWS::Events::Rule",
        {
            "Name": physical_name(rule.name, limit=64),
            "EventBusName": bus_resource.ref,
            "EventPattern": JsonObject(rule.source),
            "State": "ENABLED",
            "Targets": targets,
        },
    )
    for target in rule.targets:
        if isinstance(target, Function) and target.queue is None and target.name not in stack.function_queues:
            stack.add(
                logical_id(bus.name, rule.name, "Invokes", target.name),
                "AWS::Lambda::Permission",
                {
                    "FunctionName": stack.functions[target.name].ref,
                    "Action": "lambda:InvokeFunction",
                    "Principal": "events.amazonaws.com",
                    "SourceArn": resource.arn,
                },
            )
    return resource


def _is_fifo(stack: Stack, target: Queue | Function | DeliveryStream) -> bool:
    if isinstance(target, Function) and target.queue is None:
        return target.name in stack.function_queues
    queue = _queue_of(target)
    return queue is not None and queue.name.endswith(FIFO)


def _target_arn(stack: Stack, target: Queue | Function | DeliveryStream) -> Text:
    if isinstance(target, DeliveryStream):
        return stack.delivery_streams[target.name].arn
    if isinstance(target, Queue):
        return stack.queues[target.name].arn
    # A queue's consumer gets the event through its queue, as any other message.
    if target.queue is not None:
        return stack.queues[target.queue.name].arn
    return stack.function_queues.get(target.name, stack.functions[target.name]).arn


def add_queue_policies(stack: Stack) -> None:
    """Who may send to each queue, when topics and rules are there."""
    for queue in stack.app.queues:
        resource = stack.queues[queue.name]
        statements = []
        topics = [
            stack.topics[topic.name].ref
            for topic in stack.app.topics
            if any(each.queue is queue for each in topic.subscriptions)
        ]
        if topics:
            statements.append(iam.may_send("TopicsMaySend", "sns.amazonaws.com", resource.arn, topics))
        rules: list[Text] = [
            _rule_arn(bus, rule)
            for bus in stack.app.buses
            for rule in bus.rules
            if any(_queue_of(target) is queue for target in rule.targets)
        ]
        if rules:
            statements.append(iam.may_send("RulesMaySend", "events.amazonaws.com", resource.arn, rules))
        _queue_policy(stack, resource, statements)
    for name, resource in stack.function_queues.items():
        rules = [
            _rule_arn(bus, rule)
            for bus in stack.app.buses
            for rule in bus.rules
            if any(isinstance(target, Function) and target.name == name for target in rule.targets)
        ]
        statements = [iam.may_send("RulesMaySend", "events.amazonaws.com", resource.arn, rules)] if rules else []
        _queue_policy(stack, resource, statements)


def _queue_of(target: Queue | Function | DeliveryStream) -> Queue | None:
    if isinstance(target, Function):
        return target.queue
    return target if isinstance(target, Queue) else None


def _rule_arn(bus: Bus, rule: Rule) -> Text:
    bus_name, rule_name = physical_name(bus.name, limit=_BUS_NAME_MAX), physical_name(rule.name, limit=64)
    return arn("events", join("rule/", bus_name, "/", rule_name))


def _queue_policy(stack: Stack, queue: Resource, statements: Sequence[dict[str, Any]]) -> None:
    stack.add(
        f"{queue.id}Policy",
        "AWS::SQS::QueuePolicy",
        {
            "Queues": [queue.ref],
            "PolicyDocument": JsonObject(iam.document([*statements, iam.only_encrypted("sqs:*", queue.arn)])),
        },
    )
