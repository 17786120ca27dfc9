"""Every error that the services' models name for what is asked of them, by its code, as boto3 tells it."""

from __future__ import annotations

import botocore.session
import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from afterwrite.core.target_failures import kind_of_code

ASKED = [
    ("sqs", "SendMessageBatch"),
    ("sns", "PublishBatch"),
    ("sns", "Publish"),
    ("events", "PutEvents"),
    ("firehose", "PutRecordBatch"),
    ("kinesis", "PutRecords"),
    ("lambda", "Invoke"),
    ("s3", "PutObject"),
    ("dynamodb", "PutItem"),
    ("dynamodb", "BatchWriteItem"),
    ("dynamodb", "TransactWriteItems"),
    ("bedrock-runtime", "Converse"),
    ("bedrock-runtime", "InvokeModel"),
    ("sesv2", "SendEmail"),
]
PASSING = ("throttled", "unavailable")


@pytest.mark.parametrize(("service", "operation"), ASKED)
def test_what_may_pass_is_never_rejected(service: str, operation: str) -> None:
    model = botocore.session.get_session().get_service_model(service).operation_model(operation)
    kinds, may_pass, keys = {}, set(), set()
    for shape in model.error_shapes:
        told = shape.metadata.get("error", {})
        code, status = (
            told.get("code", shape.name),
            told.get("httpStatusCode", 500 if shape.metadata.get("fault") else 400),
        )
        kinds[code] = kind_of_code(code, status=status)
        if shape.metadata.get("retryable") or "Throttl" in shape.name or "Throughput" in shape.name:
            may_pass.add(code)
        if "kms" in shape.name.lower():
            keys.add(code)
    assert {code: kinds[code] for code in may_pass if kinds[code] not in PASSING} == {}
    assert {code: kinds[code] for code in keys if kinds[code] == "rejected"} == {}


def test_what_boto3_tries_again_is_tried_again_by_us() -> None:
    throttled = vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"]
    transient = vars(TransientRetryableChecker)["_TRANSIENT_ERROR_CODES"]
    assert {kind_of_code(code, status=400) for code in throttled} == {"throttled"}
    assert {kind_of_code(code, status=400) for code in transient} <= set(PASSING)
