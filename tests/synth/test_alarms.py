"""What alarms tell on AWS: that something waits, fails, or is lost."""

from __future__ import annotations

from typing import Any

from cfnlint.api import lint

from afterwrite import App
from afterwrite.synth import cloudformation
from afterwrite.synth.document import Template
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth
from synth.documents import of_type, parsed, references


def handle(event: Any, context: Any) -> None: ...


def watched(template: Template) -> set[tuple[str, str]]:
    """The metrics that alarms watch, each with what it is of."""
    alarms = of_type(parsed(template), "AWS::CloudWatch::Alarm").values()
    return {
        (alarm["MetricName"], of) for alarm in alarms if "MetricName" in alarm for of in references(alarm["Dimensions"])
    }


def test_what_the_mappings_of_routes_and_of_functions_give_up_or_drop_is_told() -> None:
    app = App("shop")
    orders = app.table("orders", partition_key="PK")
    orders.on()(lambda change: None)
    orders.event_source_mapping(handle, FunctionName="copy", MaximumRetryAttempts=3)
    app.kinesis_stream("clicks").event_source_mapping(handle, FunctionName="count", MaximumRetryAttempts=3)
    template = synth(app)
    assert lint(cloudformation.render(template)) == []
    given_up = {each for each in watched(template) if each[0].endswith("EventCount")}
    mappings = ("OrdersMapping", "OrdersToCopy", "ClicksToCount")
    kinds = ("OnFailureDestinationDeliveredEventCount", "DroppedEventCount")
    assert given_up == {(metric, mapping) for metric in kinds for mapping in mappings}


def test_changes_that_do_not_get_into_their_table_s_kinesis_stream_are_told() -> None:
    app = App("shop")
    app.table("orders", partition_key="PK", stream="kinesis").on()(lambda change: None)
    app.table("carts", partition_key="PK").on()(lambda change: None)
    app.function()(handle)
    template = synth(app)
    assert lint(cloudformation.render(template)) == []
    queries = [
        alarm["Metrics"][0]["Expression"]["Fn::Sub"]
        for alarm in of_type(parsed(template), "AWS::CloudWatch::Alarm").values()
        if "Metrics" in alarm
    ]
    assert queries == [
        'SELECT SUM(FailedToReplicateRecordCount) FROM SCHEMA("AWS/DynamoDB", DelegatedOperation, TableName) '
        "WHERE TableName = '${OrdersTable}'"
    ]


def test_dead_letters_that_do_not_arrive_are_told_where_lambda_is_who_sends_them() -> None:
    app = App("shop")
    app.function()(handle)
    app.function(retries=9)(other)
    app.queue("work").consumer()(third)
    app.table("orders", partition_key="PK").on()(lambda change: None)
    app.table("carts", partition_key="PK").on()(lambda change: None)
    app.kinesis_stream("clicks").event_source_mapping(handle, FunctionName="count", MaximumRetryAttempts=3)
    template = synth(app, Options(pipes=frozenset(["carts"])))
    lost = {of for metric, of in watched(template) if metric == "DestinationDeliveryFailures"}
    assert lost == {"HandleFunction", "OrdersRoutes", "CountMappedFunction"}


def test_what_waits_for_a_function_is_told_whether_a_queue_feeds_it_or_lambda_does() -> None:
    app = App("shop")
    app.alarms(queue_age_s=600)
    app.function()(handle)
    app.function(retries=9)(other)
    app.queue("work").consumer()(third)
    app.queue("read-outside")
    alarms = of_type(parsed(synth(app)), "AWS::CloudWatch::Alarm").values()
    ages = {each["MetricName"]: each["Threshold"] for each in alarms if "Age" in each["MetricName"]}
    assert ages == {"AsyncEventAge": 600_000, "ApproximateAgeOfOldestMessage": 600}
    waiting = {each for each in watched(synth(app)) if "Age" in each[0]}
    assert waiting == {
        ("AsyncEventAge", "HandleFunction"),
        ("ApproximateAgeOfOldestMessage", "FunctionOtherQueue"),
        ("ApproximateAgeOfOldestMessage", "WorkQueue"),
    }


def other(event: Any, context: Any) -> None: ...


def third(event: Any, context: Any) -> None: ...


def test_what_a_topic_and_a_rule_can_neither_deliver_nor_send_to_dead_letters_is_told() -> None:
    app = App("shop")
    work = app.queue("work")
    app.topic("news").subscribe(work)
    app.topic("unheard")
    app.bus("events").rule("all", {"source": ["shop"]}, to=[work])
    template = synth(app)
    alarms = of_type(parsed(template), "AWS::CloudWatch::Alarm")
    lost = {alarm["MetricName"]: alarm for alarm in alarms.values() if "Failed" in alarm["MetricName"]}
    assert lost.keys() == {"NumberOfNotificationsFailedToRedriveToDlq", "InvocationsFailedToBeSentToDlq"}
    dimensions = {name: {each["Name"]: each["Value"] for each in alarm["Dimensions"]} for name, alarm in lost.items()}
    assert dimensions == {
        "NumberOfNotificationsFailedToRedriveToDlq": {"TopicName": {"Fn::GetAtt": "NewsTopic.TopicName"}},
        "InvocationsFailedToBeSentToDlq": {
            "EventBusName": {"Ref": "EventsBus"},
            "RuleName": {"Fn::Sub": "${NamePrefix}all"},
        },
    }


def test_records_that_do_not_fit_a_delivery_stream_s_columns_are_told() -> None:
    app = App("shop")
    app.delivery_stream("typed", columns={"page": str})
    app.delivery_stream("plain")
    app.delivery_stream("found", columns={"page": str})
    template = synth(app, Options(search={"found": "found"}))
    assert {of for metric, of in watched(template) if metric == "FailedConversion.Records"} == {"TypedStream"}
    fresh = {of for metric, of in watched(template) if metric.endswith("DataFreshness")}
    assert fresh == {"TypedStream", "PlainStream", "FoundStream"}


def test_a_pipe_has_no_alarm_on_what_it_does_not_measure_and_a_note_says_so() -> None:
    app = App("shop")
    for name in ("orders", "carts"):
        app.table(name, partition_key="PK").on()(lambda change: None)
    template = synth(app, Options(pipes=frozenset(["carts"])))
    assert {of for metric, of in watched(template) if metric == "IteratorAge"} == {"OrdersRoutes"}
    notes = [note for note in template.notes if note.startswith("carts: no alarm tells how far its routes are behind")]
    assert len(notes) == 1
    (dashboard,) = of_type(parsed(template), "AWS::CloudWatch::Dashboard").values()
    body = dashboard["DashboardBody"]["Fn::Sub"]
    assert body.count("IteratorAge") == 1
