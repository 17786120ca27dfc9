"""Pipes and event source mappings of functions on AWS: what becomes of each declaration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint

from afterwrite import App
from afterwrite.errors import DeclarationError
from afterwrite.synth import cloudformation, iam, terraform
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth
from synth.documents import of_type, parsed, references
from synth.piping_app import app

GOLDEN = Path(__file__).with_name("golden")
RENEW = "afterwrite synth tests/synth/piping_app.py --runtime python3.13"
TEMPLATE = synth(app, Options())
DOCUMENT = parsed(TEMPLATE)
PIPES = of_type(DOCUMENT, "AWS::Pipes::Pipe")


@pytest.mark.parametrize(
    ("name", "text", "renew"),
    [
        ("piping.yaml", cloudformation.render(TEMPLATE), RENEW),
        ("piping.tf.json", terraform.render(TEMPLATE), f"{RENEW} --format terraform"),
    ],
)
def test_the_template_is_the_golden_one(name: str, text: str, renew: str) -> None:
    assert text == (GOLDEN / name).read_text(), f"look at what differs, then: {renew} -o tests/synth/golden/{name}"


def test_the_linter_finds_nothing() -> None:
    found = lint(cloudformation.render(TEMPLATE))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_each_pipe_reads_the_table_s_stream_bounded_and_with_dead_letters_s31() -> None:
    assert set(PIPES) == {
        f"OrdersTo{target}Pipe" for target in ("Out", "News", "Events", "Audit", "GivenUp", "Facts", "Bill")
    }
    for id, pipe in PIPES.items():
        assert pipe["Source"] == {"Fn::GetAtt": "OrdersTable.StreamArn"}
        settings = pipe["SourceParameters"]["DynamoDBStreamParameters"]
        assert (settings["StartingPosition"], settings["OnPartialBatchItemFailure"]) == (
            "TRIM_HORIZON",
            "AUTOMATIC_BISECT",
        )
        (dead_letters,) = references(settings["DeadLetterConfig"])
        assert dead_letters == f"Pipe{id.removesuffix('Pipe')}DeadLetters"
        # The service refuses more than the target takes at a time.
        assert settings["BatchSize"] == (
            10 if id in ("OrdersToOutPipe", "OrdersToNewsPipe", "OrdersToEventsPipe") else 1
        )
        role = of_type(DOCUMENT, "AWS::IAM::Role")[next(references(pipe["RoleArn"]))]
        statements = role["Policies"][0]["PolicyDocument"]["Statement"]
        allowed = {each["Sid"] for each in statements}
        assert {"ReadStream", "ListStreamsKnowsNoResource", "SendDeadLetters"} < allowed
        assert [each["Sid"] for each in statements if each["Resource"] == "*"] == ["ListStreamsKnowsNoResource"]
        assert ("Enrich" in allowed) is ("Enrichment" in pipe)


def test_filters_enrichments_targets_and_templates_are_the_declared_ones() -> None:
    patterns = {
        id: [json.loads(each["Pattern"]) for each in criteria["Filters"]]
        for id, pipe in PIPES.items()
        if (criteria := pipe["SourceParameters"].get("FilterCriteria"))
    }
    assert patterns["OrdersToNewsPipe"] == [{"eventName": ["INSERT"]}, {"eventName": ["REMOVE"]}]
    assert "OrdersToEventsPipe" not in patterns
    assert {id: pipe["Target"] for id, pipe in PIPES.items()} == {
        "OrdersToOutPipe": {"Fn::GetAtt": "OutQueue.Arn"},
        "OrdersToNewsPipe": {"Ref": "NewsTopic"},
        "OrdersToEventsPipe": {"Fn::GetAtt": "EventsBus.Arn"},
        "OrdersToAuditPipe": {"Fn::GetAtt": "AuditFunction.Arn"},
        "OrdersToGivenUpPipe": {"Fn::GetAtt": "GivenUpQueue.Arn"},
        "OrdersToFactsPipe": {"Fn::GetAtt": "FactsStream.Arn"},
        "OrdersToBillPipe": {"Fn::GetAtt": "FunctionBillQueue.Arn"},
    }
    assert {id: pipe["TargetParameters"]["InputTemplate"] for id, pipe in PIPES.items() if template(pipe)} == {
        "OrdersToOutPipe": '{"order": <$.dynamodb.Keys.pk.S>}',
        "OrdersToNewsPipe": "order <$.dynamodb.Keys.pk.S>",
        "OrdersToAuditPipe": '{"afterwrite":{"function":"audit","id":"<$.eventID>/orders-to-audit/0"},'
        '"request":"for <$.dynamodb.Keys.pk.S>"}',
        "OrdersToGivenUpPipe": '{"costs": <$.price>}',
    }
    assert PIPES["OrdersToGivenUpPipe"]["Enrichment"] == {"Fn::GetAtt": "PipeOrdersToGivenUpFunction.Arn"}
    retries = PIPES["OrdersToGivenUpPipe"]["SourceParameters"]["DynamoDBStreamParameters"]["MaximumRetryAttempts"]
    assert retries == 1, "as often as the enrichment's function is declared to be tried again"
    function = of_type(DOCUMENT, "AWS::Lambda::Function")["PipeOrdersToGivenUpFunction"]
    assert function["Environment"]["Variables"]["AFTERWRITE_FUNCTION"] == "pipe-orders-to-given-up"


def template(pipe: dict[str, Any]) -> Any:
    return pipe.get("TargetParameters", {}).get("InputTemplate")


def test_a_pipe_that_no_eventbridge_pipe_can_do_is_a_route_of_the_table() -> None:
    mapping = of_type(DOCUMENT, "AWS::Lambda::EventSourceMapping")["OrdersMapping"]
    assert [json.loads(each["Pattern"]) for each in mapping["FilterCriteria"]["Filters"]] == [{"eventName": ["INSERT"]}]
    assert any(
        note.startswith("orders-to-trail: no EventBridge Pipe, as its transform is code") for note in TEMPLATE.notes
    )


def test_a_mapped_function_has_its_own_role_and_the_declared_parameters() -> None:
    functions, mappings = (of_type(DOCUMENT, f"AWS::Lambda::{kind}") for kind in ("Function", "EventSourceMapping"))
    count = functions["CountMappedFunction"]
    assert count["Environment"]["Variables"]["AFTERWRITE_MAPPED_FUNCTION"] == "count"
    assert count["Timeout"] == 60, "the longer of its two mappings'"
    on_table, on_stream = mappings["OrdersToCount"], mappings["ClicksToCount"]
    assert on_table["EventSourceArn"] == {"Fn::GetAtt": "OrdersTable.StreamArn"}
    assert on_table["FilterCriteria"] == {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]}
    assert (on_table["BatchSize"], on_table["MaximumRetryAttempts"]) == (50, 3)
    assert on_table["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": "GivenUpQueue.Arn"}}}
    assert on_stream["EventSourceArn"] == {"Fn::GetAtt": "ClicksKinesisStream.Arn"}
    assert on_stream["DestinationConfig"] == {"OnFailure": {"Destination": {"Fn::GetAtt": "Failures.Arn"}}}
    assert on_stream["TumblingWindowInSeconds"] == 60
    assert of_type(DOCUMENT, "AWS::Kinesis::Stream")["ClicksKinesisStream"]["ShardCount"] == 2
    role = of_type(DOCUMENT, "AWS::IAM::Role")["CountMappedFunctionRole"]
    statements = {each["Sid"]: each for each in role["Policies"][0]["PolicyDocument"]["Statement"]}
    for sid, statement in statements.items():
        assert statement["Resource"] != "*" or sid in iam.WITHOUT_RESOURCE, sid
    assert statements["SendFailures"]["Resource"] == {"Fn::GetAtt": "GivenUpQueue.Arn"}
    assert {"ReadStream", "ReadKinesis", "KeepFailures"} < set(statements)


def test_a_function_with_more_attempts_than_an_invocation_has_is_fed_by_a_fifo_queue() -> None:
    """S33, S35"""
    queue = of_type(DOCUMENT, "AWS::SQS::Queue")["FunctionBillQueue"]
    assert queue["FifoQueue"] is True
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": "FunctionBillDeadLetters.Arn"},
        "maxReceiveCount": 21,
    }
    assert of_type(DOCUMENT, "AWS::SQS::Queue")["FunctionBillDeadLetters"]["FifoQueue"] is True
    resources = of_type(DOCUMENT, "AWS::Lambda::Function")["OrdersRoutes"]["Environment"]["Variables"]
    assert "${FunctionBillQueue}" in str(resources["AFTERWRITE_RESOURCES"])


def test_every_queue_has_dead_letters_or_is_for_them() -> None:
    for id, queue in of_type(DOCUMENT, "AWS::SQS::Queue").items():
        assert ("RedrivePolicy" in queue) is not id.endswith("DeadLetters"), id


def test_terraform_has_every_resource_and_refers_to_nothing_else() -> None:
    configuration = json.loads(terraform.render(TEMPLATE))
    assert sum(map(len, configuration["resource"].values())) == len(TEMPLATE.resources)
    pipe = configuration["resource"]["awscc_pipes_pipe"]["orders_to_given_up_pipe"]
    assert pipe["source_parameters"]["dynamo_db_stream_parameters"]["maximum_retry_attempts"] == 1
    assert pipe["target_parameters"] == {"input_template": '{"costs": <$.price>}'}
    assert pipe["enrichment"] == "${awscc_lambda_function.pipe_orders_to_given_up_function.arn}"


def two_functions_of_one_name(app: App) -> None:
    app.table("things", partition_key="pk").event_source_mapping(lambda event, context: 1, FunctionName="same")
    app.kinesis_stream("clicks").event_source_mapping(lambda event, context: 2, FunctionName="same")


def an_audit_log_behind_an_enrichment(app: App) -> None:
    @app.function()
    def price(request: Any, context: Any) -> None: ...

    things = app.table("things", partition_key="pk")
    things.pipe(name="kept", enrich=price, to=app.audit_log("trail", retain_days=1))


def failures_to_a_function(app: App) -> None:
    @app.function()
    def work(request: Any, context: Any) -> None: ...

    destination = {"OnFailure": {"Destination": work}}
    things = app.table("things", partition_key="pk")
    things.event_source_mapping(lambda event, context: None, FunctionName="f", DestinationConfig=destination)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (two_functions_of_one_name, "two functions are mapped as same, on things and clicks"),
        (an_audit_log_behind_an_enrichment, "no enrichment of the pipe kept on AWS"),
        (
            failures_to_a_function,
            "a queue, a topic or an ARN as the destination of f's failures on AWS, got the function",
        ),
    ],
)
def test_what_aws_cannot_do_as_declared_is_refused(declare: Any, message: str) -> None:
    app = App("shop")
    declare(app)
    with pytest.raises(DeclarationError, match=message):
        synth(app)


def test_a_mapping_without_a_bound_is_noted_s8() -> None:
    app = App("shop")
    app.table("things", partition_key="pk").event_source_mapping(lambda event, context: None, FunctionName="f")
    (note,) = synth(app).notes
    assert note.startswith("f: a record of things that keeps failing holds its shard up")
