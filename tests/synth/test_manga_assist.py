"""MangaAssist's template: as it was, clean by the linter, and held to what every template must be."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cfnlint.api import lint

from afterwrite.synth import cloudformation, iam, terraform
from afterwrite.synth.stack import Options
from afterwrite.synth.template import synth
from manga_assist.app import app
from synth.documents import of_type, parsed, references

GOLDEN = Path(__file__).with_name("golden")
RENEW = "afterwrite synth apps/manga_assist/app.py --runtime python3.13"

TEMPLATE = synth(app, Options())
DOCUMENT = parsed(TEMPLATE)


def properties(kind: str) -> dict[str, dict[str, Any]]:
    return of_type(DOCUMENT, kind)


@pytest.mark.parametrize(
    ("name", "text", "renew"),
    [
        ("manga_assist.yaml", cloudformation.render(TEMPLATE), RENEW),
        ("manga_assist.tf.json", terraform.render(TEMPLATE), f"{RENEW} --format terraform"),
    ],
)
def test_the_template_is_the_golden_one(name: str, text: str, renew: str) -> None:
    assert text == (GOLDEN / name).read_text(), (
        f"look at what differs, then renew it: {renew} -o tests/synth/golden/{name}"
    )


def test_the_linter_finds_nothing() -> None:
    found = lint(cloudformation.render(TEMPLATE))
    assert [f"{match.rule.id} {match.message}" for match in found] == []


def test_the_same_declaration_gives_the_same_bytes_in_every_process() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [
        sys.executable,
        "-m",
        "afterwrite",
        "synth",
        str(root / "apps/manga_assist/app.py"),
        "--runtime",
        "python3.13",
    ]
    texts = {
        subprocess.run(
            command,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root / 'src'}:{root / 'apps'}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert texts == {(GOLDEN / "manga_assist.yaml").read_text()}


def statements() -> list[tuple[str, dict[str, Any]]]:
    return [
        (id, statement)
        for id, role in properties("AWS::IAM::Role").items()
        for policy in role["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def test_a_statement_on_every_resource_has_a_named_reason() -> None:
    wild = [(id, each) for id, each in statements() if each["Resource"] == "*"]
    assert wild, "the pollers of streams list streams"
    for id, statement in wild:
        actions, reason = iam.WITHOUT_RESOURCE[statement["Sid"]]
        assert statement["Action"] == list(actions), id
        assert reason


def test_no_role_is_allowed_an_action_by_a_pattern() -> None:
    for id, statement in statements():
        assert statement["Effect"] == "Allow"
        assert not [action for action in statement["Action"] if "*" in action], id


def test_each_function_has_a_role_of_its_own_and_only_routes_may_ask_for_effects() -> None:
    functions = properties("AWS::Lambda::Function")
    roles = {id: each["Role"]["Fn::GetAtt"] for id, each in functions.items()}
    assert len(set(roles.values())) == len(functions) == len(app.functions) + 1
    for id, statement in statements():
        if statement["Sid"] in ("PublishMessages", "PutEvents", "AppendAudit", "InvokeFunctions", "SendMessages"):
            assert id == "MangaAssistSessionsRoutesRole"


def test_only_the_apps_own_code_gets_the_policy_that_a_stage_adds() -> None:
    added = {id for id, role in properties("AWS::IAM::Role").items() if "ManagedPolicyArns" in role}
    functions = properties("AWS::Lambda::Function").items()
    own = {each["Role"]["Fn::GetAtt"].partition(".")[0] for id, each in functions if id != "MangaAssistSessionsRoutes"}
    assert added == own


def test_every_queue_has_a_dead_letter_queue_or_is_one() -> None:
    queues = properties("AWS::SQS::Queue")
    for id, queue in queues.items():
        if id.endswith("DeadLetters"):
            assert "RedrivePolicy" not in queue
        else:
            (target,) = references(queue["RedrivePolicy"]["deadLetterTargetArn"])
            assert target in queues and target.endswith("DeadLetters")
    for subscription in properties("AWS::SNS::Subscription").values():
        assert subscription["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"].endswith("DeadLetters.Arn")
    for rule in properties("AWS::Events::Rule").values():
        for target in rule["Targets"] if "EventPattern" in rule else ():
            assert target["DeadLetterConfig"]["Arn"]["Fn::GetAtt"].endswith("DeadLetters.Arn")
            assert target["RetryPolicy"] == {"MaximumEventAgeInSeconds": 86400, "MaximumRetryAttempts": 185}
    for id, config in properties("AWS::Lambda::EventInvokeConfig").items():
        if id.endswith("Redrives"):
            continue  # a schedule asks again by itself
        assert config["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"].endswith("DeadLetters.Arn")


def test_every_mapping_of_a_stream_is_bounded_filtered_and_keeps_the_payload() -> None:
    mappings = [each for each in properties("AWS::Lambda::EventSourceMapping").values() if "StartingPosition" in each]
    assert len(mappings) == 1
    for mapping in mappings:
        assert mapping["StartingPosition"] == "TRIM_HORIZON"  # S13
        assert 1 <= len(mapping["FilterCriteria"]["Filters"]) <= 5  # S17
        assert mapping["BisectBatchOnFunctionError"] is True
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]  # S4
        for bound in ("MaximumRetryAttempts", "MaximumRecordAgeInSeconds"):
            assert DOCUMENT["Parameters"][mapping[bound]["Ref"]]["MinValue"] >= 0  # S8: -1 is without a bound
        (bucket,) = references(mapping["DestinationConfig"])
        assert DOCUMENT["Resources"][bucket]["Type"] == "AWS::S3::Bucket"  # S14


def test_a_consumer_takes_one_message_so_that_a_receive_counts_for_what_was_tried() -> None:
    """S33"""
    mappings = properties("AWS::Lambda::EventSourceMapping")
    consumers = {id: each for id, each in mappings.items() if "ScalingConfig" in each}
    assert len(consumers) == 8
    for id, consumer in consumers.items():
        # A function's own dead letters come to it only while they are to run again.
        opened = {"Fn::If": ["RedrivesDeadLetters", True, False]} if id.endswith("DeadLetterMessages") else None
        assert consumer.get("Enabled") == opened
        assert consumer["BatchSize"] == 1
        (queue,) = references(consumer["EventSourceArn"])
        (function,) = references(consumer["FunctionName"])
        timeout_s = properties("AWS::Lambda::Function")[function]["Timeout"]
        assert properties("AWS::SQS::Queue")[queue]["VisibilityTimeout"] > timeout_s


def test_no_bucket_is_public_and_the_audit_log_is_locked() -> None:
    """S38"""
    for id, bucket in properties("AWS::S3::Bucket").items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, id
        assert bucket["BucketEncryption"]
    audit = properties("AWS::S3::Bucket")["MangaAssistAuditBucket"]
    assert audit["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {"Mode": "COMPLIANCE", "Days": 365}


def test_what_holds_data_is_kept_when_the_stack_goes() -> None:
    for id, resource in DOCUMENT["Resources"].items():
        if resource["Type"] in ("AWS::DynamoDB::Table", "AWS::S3::Bucket"):
            assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain", id
    for table in properties("AWS::DynamoDB::Table").values():
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["SSESpecification"] == {"SSEEnabled": True}
    sessions = properties("AWS::DynamoDB::Table")["MangaAssistSessionsTable"]
    assert sessions["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}
    assert sessions["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}


def test_every_dead_letter_queue_and_every_function_has_its_alarms() -> None:
    alarms = properties("AWS::CloudWatch::Alarm")
    watched = {(alarm["MetricName"], target) for alarm in alarms.values() for target in references(alarm["Dimensions"])}
    for id in properties("AWS::SQS::Queue"):
        assert (("ApproximateNumberOfMessagesVisible", id) in watched) is id.endswith("DeadLetters")
    for id in properties("AWS::Lambda::Function"):
        assert {("Errors", id), ("Throttles", id)} <= watched
    lags = sorted(alarm["Threshold"] for alarm in alarms.values() if alarm["MetricName"] == "IteratorAge")
    assert lags == [60_000, 12 * 3_600_000]
    assert "ParkedChanges" in {metric for metric, _ in watched} | {each["MetricName"] for each in alarms.values()}


def test_no_account_and_no_region_is_written_down() -> None:
    text = cloudformation.render(TEMPLATE)
    assert "us-east-1" not in text
    assert ":aws:" not in text


def test_terraform_names_resources_as_its_provider_does() -> None:
    configuration = json.loads(terraform.render(TEMPLATE))
    resources = configuration["resource"]
    assert sum(map(len, resources.values())) == len(TEMPLATE.resources)
    stream = resources["awscc_kinesisfirehose_delivery_stream"]["manga_assist_analytics_stream"]
    destination = stream["extended_s3_destination_configuration"]
    assert destination["buffering_hints"] == {"interval_in_seconds": 60, "size_in_m_bs": 64}
    assert destination["bucket_arn"] == "${awscc_s3_bucket.lake.arn}"
    table = resources["aws_glue_catalog_table"]["manga_assist_analytics_lake_table"]
    assert table["parameters"]["storage.location.template"].endswith("dt=$${dt}/hour=$${hour}/")
    function = resources["awscc_lambda_function"]["summarize_function"]
    assert json.loads(function["environment"]["variables"]["AFTERWRITE_RESOURCES"])["table/manga-assist-sessions"] == (
        "${awscc_dynamodb_table.manga_assist_sessions_table.id}"
    )
    role = resources["awscc_iam_role"]["summarize_function_role"]
    assert json.loads(role["assume_role_policy_document"])["Statement"][0]["Principal"] == {
        "Service": "lambda.amazonaws.com"
    }


def test_every_reference_of_terraform_is_to_something_that_is_there() -> None:
    text = terraform.render(TEMPLATE)
    configuration = json.loads(text)
    for kind, name in re.findall(r"\$\{(awscc?_\w+)\.(\w+)\.", text):
        assert name in configuration["resource"][kind]
    for name in re.findall(r"var\.(\w+)", text):
        assert name in configuration["variable"]
