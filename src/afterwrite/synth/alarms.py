"""Alarms on what needs an operator, and a dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from afterwrite.synth.document import REGION, Attribute, JsonText, Ref, Resource, Text, join, logical_id
from afterwrite.synth.functions import INVOCATIONS
from afterwrite.synth.stack import Stack, physical_name, where
from afterwrite.synth.tables import STREAM_HOURS

METRICS_NAMESPACE: Final = "afterwrite"
_MINUTE_S: Final = 60
_FRESHNESS_S_MIN: Final = 900
_STAYS_PARKED_S: Final = 900
_REPLICATION_PERIOD_S: Final = 300
_WIDGET_WIDTH: Final = 12
_WIDGET_HEIGHT: Final = 6
_ALARMS_HEIGHT: Final = 4
_ALARMS_SHOWN_MAX: Final = 100
"""How many alarms one widget of a dashboard shows."""

Metric = tuple[str, str, Mapping[str, Text]]
"""Namespace, name, dimensions."""


def add(stack: Stack) -> None:
    """The alarms of everything in the stack, and the dashboard that shows them."""
    if (topic := stack.app.alarm_topic) is not None:
        # Neither CloudWatch nor EventBridge may use the key that AWS manages for topics.
        stack.notes.append(
            f"alarms: to={topic.name} is the embedded engine's; CloudWatch notifies the topic in AlarmTopicArn"
        )
    alarms: list[Resource] = []
    for table in stack.app.tables:
        if table.name in stack.route_functions:
            alarms += _routes(stack, table.name, table.retention_hours)
    for name, function in stack.mapped_functions.items():
        age = _lambda_metric(function, "IteratorAge")
        alarms.append(_lag_alarm(stack, name, f"{name} is more than {_lag_text(stack)} behind its streams", age))
    for what, mapping in stack.mappings.items():
        alarms += _given_up(stack, what, mapping)
    for name, function in _lambdas(stack).items():
        alarms += _function(stack, name, function)
    alarms += _queue_ages(stack) + _invocation_ages(stack)
    for name, queue in stack.dead_letter_queues.items():
        visible = _queue_metric(queue, "ApproximateNumberOfMessagesVisible")
        alarms.append(
            _alarm(stack, logical_id(name, "Alarm"), f"{name} holds messages that failed for good", visible, "Maximum")
        )
    alarms += _undelivered(stack)
    for name, stream in stack.delivery_streams.items():
        alarms += _delivery_stream(stack, name, stream)
    alarms += [_left_out(stack, table) for table in stack.streams]
    _add_dashboard(stack, alarms)


def _routes(stack: Stack, table: str, retention_hours: int) -> list[Resource]:
    parked = _alarm(
        stack,
        logical_id(table, "ParkedAlarm"),
        f"Lanes of {table} are parked: afterwrite parked shows why",
        _own_metric(stack, table, "ParkedChanges"),
        "Sum",
    )
    # The schedule that runs parked lanes again counts what is left.
    stays = _alarm(
        stack,
        logical_id(table, "StaysParkedAlarm"),
        f"Lanes of {table} have stayed parked for {_STAYS_PARKED_S // 60} minutes: afterwrite parked shows why",
        _own_metric(stack, table, "LanesStillParked"),
        "Minimum",
        period_s=_STAYS_PARKED_S,
    )
    if table in stack.options.pipes:
        stack.notes.append(
            f"{table}: no alarm tells how far its routes are behind, as a Pipe does not measure it; the one on the "
            "Pipe's dead letters tells of what got too old"
        )
        return [parked, stays]
    age = _lambda_metric(stack.route_functions[table], "IteratorAge")
    kept_hours = max(retention_hours, STREAM_HOURS)
    fraction = stack.app.alarm_thresholds.retention_fraction_max
    return [
        _lag_alarm(stack, table, f"The routes of {table} are more than {_lag_text(stack)} behind", age),
        _alarm(
            stack,
            logical_id(table, "LossAlarm"),
            f"The routes of {table} are behind by {fraction:.0%} of the {kept_hours} h that its changes are kept",
            age,
            "Maximum",
            above=round(kept_hours * 3_600_000 * fraction),
        ),
        parked,
        stays,
    ]


def _given_up(stack: Stack, what: str, mapping: Resource) -> list[Resource]:
    """Alarms on what a stream's mapping gave up: whether its destination has it, or nothing has."""
    return [
        _alarm(
            stack,
            f"{mapping.id}{metric.removesuffix('EventCount')}Alarm",
            f"{what} {became}",
            ("AWS/Lambda", metric, {"EventSourceMappingUUID": mapping.ref}),
            "Sum",
        )
        for metric, became in (
            ("OnFailureDestinationDeliveredEventCount", "failed for good, and went to their mapping's destination"),
            ("DroppedEventCount", "were dropped"),
        )
    ]


def _lag_alarm(stack: Stack, name: str, description: str, age: Metric) -> Resource:
    above = stack.app.alarm_thresholds.iterator_age_ms_max
    return _alarm(stack, logical_id(name, "LagAlarm"), description, age, "Maximum", above=above, periods=5)


def _lag_text(stack: Stack) -> str:
    return f"{stack.app.alarm_thresholds.iterator_age_ms_max / 1000:g} s"


def _queue_ages(stack: Stack) -> list[Resource]:
    """Alarms on what waits for a consumer, or for a function that a queue feeds; other queues have readers outside."""
    read = {
        function.queue_name: stack.queues[function.queue_name]
        if function.queue is not None
        else stack.function_queues.get(function.name)
        for function in stack.app.functions
    }
    above_s = stack.app.alarm_thresholds.queue_age_ms_max / 1000
    return [
        _alarm(
            stack,
            logical_id(name, "AgeAlarm"),
            f"A message of {name} has waited for more than {above_s:g} s",
            _queue_metric(queue, "ApproximateAgeOfOldestMessage"),
            "Maximum",
            above=above_s,
        )
        for name, queue in read.items()
        if queue is not None
    ]


def _invocation_ages(stack: Stack) -> list[Resource]:
    """Alarms on what waits within Lambda for a function that is invoked asynchronously."""
    above_ms = stack.app.alarm_thresholds.queue_age_ms_max
    return [
        _alarm(
            stack,
            f"{function.id}AgeAlarm",
            f"A request for {name} has waited for more than {above_ms / 1000:g} s",
            _lambda_metric(function, "AsyncEventAge"),
            "Maximum",
            above=above_ms,
        )
        for name, function in stack.functions.items()
        if _is_invoked(stack, function)
    ]


def _delivery_stream(stack: Stack, name: str, stream: Resource) -> list[Resource]:
    declared = next(each for each in stack.app.delivery_streams if each.name == name)
    fresh = _alarm(
        stack,
        logical_id(name, "FreshnessAlarm"),
        f"The delivery stream {name} has not delivered for long",
        _stream_metric(stream),
        "Maximum",
        above=max(_FRESHNESS_S_MIN, 3 * declared.buffer_seconds),
        periods=5,
    )
    if "DataFormatConversionConfiguration" not in stream.properties.get("ExtendedS3DestinationConfiguration", ()):
        return [fresh]
    refused = _alarm(
        stack,
        logical_id(name, "RefusedAlarm"),
        f"Records of {name} do not fit its columns: they are in the lake's bucket under {name}/_failed",
        ("AWS/Firehose", "FailedConversion.Records", {"DeliveryStreamName": stream.ref}),
        "Sum",
    )
    return [fresh, refused]


def _left_out(stack: Stack, table: str) -> Resource:
    """An alarm on changes that are too long for the Kinesis stream of their table, or that it refused for a day."""
    # The metric has a dimension more, for what DynamoDB does on its own, whose values no page of AWS's names.
    query = join(
        'SELECT SUM(FailedToReplicateRecordCount) FROM SCHEMA("AWS/DynamoDB", DelegatedOperation, TableName) '
        "WHERE TableName = '",
        stack.tables[table].ref,
        "'",
    )
    return _alarm_on(
        stack,
        logical_id(table, "LeftOutAlarm"),
        f"Changes of {table} did not get into its Kinesis stream, and no route has them",
        {"Metrics": [{"Id": "left_out", "Expression": query, "Period": _REPLICATION_PERIOD_S, "ReturnData": True}]},
    )


def _is_invoked(stack: Stack, function: Resource) -> bool:
    return f"{function.id}{INVOCATIONS}" in stack.resources.added


def _function(stack: Stack, name: str, function: Resource) -> list[Resource]:
    watched = [("Errors", "fails"), ("Throttles", "is throttled")]
    # Nothing else tells of what failed for good and is not where it was to be kept.
    if _is_invoked(stack, function):
        watched.append(("DestinationDeliveryFailures", "lost requests that failed for good: its dead letters got none"))
    elif function in _on_streams(stack):
        watched.append(("DestinationDeliveryFailures", "lost batches that were given up: their destination got none"))
    return [
        _alarm(
            stack,
            f"{function.id}{metric}Alarm",
            f"{name} {what}",
            _lambda_metric(function, metric),
            "Sum",
        )
        for metric, what in watched
    ]


def _undelivered(stack: Stack) -> list[Resource]:
    """Alarms on what topics and rules could neither deliver nor send to their dead letters."""
    topics = [topic for topic in stack.app.topics if topic.subscriptions]
    return [
        *(
            _alarm(
                stack,
                logical_id(topic.name, "UndeliveredAlarm"),
                f"Messages of {topic.name} were lost: their dead letters got none",
                _topic_metric(stack.topics[topic.name], "NumberOfNotificationsFailedToRedriveToDlq"),
                "Sum",
            )
            for topic in topics
        ),
        *(
            _alarm(
                stack,
                f"{rule.id}UndeliveredAlarm",
                "Events of the rule were lost: their dead letters got none",
                _rule_metric(rule, "InvocationsFailedToBeSentToDlq"),
                "Sum",
            )
            for rule in stack.rules
        ),
    ]


def _lambdas(stack: Stack) -> dict[str, Resource]:
    routes = {f"The routes of {table}": function for table, function in stack.route_functions.items()}
    mapped = {f"{name}, on streams,": function for name, function in stack.mapped_functions.items()}
    return {**routes, **stack.functions, **mapped}


def _on_streams(stack: Stack) -> list[Resource]:
    """The functions that event source mappings of streams invoke."""
    routes = [each for table, each in stack.route_functions.items() if table not in stack.options.pipes]
    return [*routes, *stack.mapped_functions.values()]


def _lambda_metric(function: Resource, name: str) -> Metric:
    return "AWS/Lambda", name, {"FunctionName": function.ref}


def _queue_metric(queue: Resource, name: str) -> Metric:
    return "AWS/SQS", name, {"QueueName": Attribute(queue.id, "QueueName")}


def _topic_metric(topic: Resource, name: str) -> Metric:
    return "AWS/SNS", name, {"TopicName": Attribute(topic.id, "TopicName")}


def _rule_metric(rule: Resource, name: str) -> Metric:
    return "AWS/Events", name, {"EventBusName": rule.properties["EventBusName"], "RuleName": rule.properties["Name"]}


def _stream_metric(stream: Resource) -> Metric:
    to_index = "AmazonopensearchserviceDestinationConfiguration" in stream.properties
    name = "DeliveryToAmazonOpenSearchService.DataFreshness" if to_index else "DeliveryToS3.DataFreshness"
    return "AWS/Firehose", name, {"DeliveryStreamName": stream.ref}


def _own_metric(stack: Stack, table: str, name: str) -> Metric:
    return METRICS_NAMESPACE, name, {"App": physical_name(stack.app.name), "Table": table}


def _alarm(
    stack: Stack,
    id: str,
    description: str,
    metric: Metric,
    statistic: str,
    *,
    above: float = 0,
    periods: int = 1,
    period_s: int = _MINUTE_S,
) -> Resource:
    namespace, name, dimensions = metric
    watched = {
        "Namespace": namespace,
        "MetricName": name,
        "Dimensions": [{"Name": each, "Value": value} for each, value in dimensions.items()],
        "Statistic": statistic,
        "Period": period_s,
    }
    return _alarm_on(stack, id, description, watched, above=above, periods=periods)


def _alarm_on(
    stack: Stack, id: str, description: str, watched: Mapping[str, Any], *, above: float = 0, periods: int = 1
) -> Resource:
    """An alarm on what the properties `watched` give."""
    return stack.add(
        id,
        "AWS::CloudWatch::Alarm",
        {
            "AlarmDescription": description,
            **watched,
            "EvaluationPeriods": periods,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": above,
            "TreatMissingData": "notBreaching",
            "AlarmActions": where("HasAlarmTopic", [Ref("AlarmTopicArn")]),
            "OKActions": where("HasAlarmTopic", [Ref("AlarmTopicArn")]),
        },
    )


def _add_dashboard(stack: Stack, alarms: Sequence[Resource]) -> None:
    functions = list(_lambdas(stack).values())
    graphs = [
        ("Behind (ms)", "Maximum", [_lambda_metric(each, "IteratorAge") for each in _on_streams(stack)]),
        ("Parked changes", "Sum", [_own_metric(stack, table, "ParkedChanges") for table in stack.route_functions]),
        (
            "Lanes still parked",
            "Maximum",
            [_own_metric(stack, table, "LanesStillParked") for table in stack.route_functions],
        ),
        ("Invocations", "Sum", [_lambda_metric(each, "Invocations") for each in functions]),
        ("Errors", "Sum", [_lambda_metric(each, "Errors") for each in functions]),
        ("Throttles", "Sum", [_lambda_metric(each, "Throttles") for each in functions]),
        ("Duration (ms)", "p99", [_lambda_metric(each, "Duration") for each in functions]),
        (
            "Messages waiting",
            "Maximum",
            [_queue_metric(each, "ApproximateNumberOfMessagesVisible") for each in stack.queues.values()],
        ),
        (
            "Dead letters",
            "Maximum",
            [_queue_metric(each, "ApproximateNumberOfMessagesVisible") for each in stack.dead_letter_queues.values()],
        ),
        ("Delivery freshness (s)", "Maximum", [_stream_metric(each) for each in stack.delivery_streams.values()]),
    ]
    shown = [graph for graph in graphs if graph[2]]
    if not alarms and not shown:
        return
    widgets: list[dict[str, Any]] = [
        {
            "type": "alarm",
            "x": 0,
            "y": _ALARMS_HEIGHT * number,
            "width": 2 * _WIDGET_WIDTH,
            "height": _ALARMS_HEIGHT,
            "properties": {
                "title": "Alarms",
                "alarms": [alarm.arn for alarm in alarms[first : first + _ALARMS_SHOWN_MAX]],
            },
        }
        for number, first in enumerate(range(0, len(alarms), _ALARMS_SHOWN_MAX))
    ]
    graphs_y = _ALARMS_HEIGHT * len(widgets)
    for number, (title, statistic, metrics) in enumerate(shown):
        row, column = divmod(number, 2)
        widgets.append(
            {
                "type": "metric",
                "x": column * _WIDGET_WIDTH,
                "y": graphs_y + row * _WIDGET_HEIGHT,
                "width": _WIDGET_WIDTH,
                "height": _WIDGET_HEIGHT,
                "properties": {
                    "title": title,
                    "region": Ref(REGION),
                    "stat": statistic,
                    "period": _MINUTE_S,
                    "metrics": [_shown(metric) for metric in metrics],
                },
            }
        )
    stack.add(
        "Dashboard",
        "AWS::CloudWatch::Dashboard",
        {"DashboardName": physical_name(stack.app.name), "DashboardBody": JsonText({"widgets": widgets})},
    )


def _shown(metric: Metric) -> list[Text]:
    namespace, name, dimensions = metric
    return [namespace, name, *(part for pair in dimensions.items() for part in pair)]
