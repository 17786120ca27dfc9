"""Parked lanes of an app on Lambda: the table that holds them, and the function that runs them again."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Annotated, Any, Final

from cyclopts import Parameter

from afterwrite.errors import CommandError
from afterwrite.remote.dynamodb_parked_lanes import DynamoDBParkedLanes
from afterwrite.remote.dynamodb_parked_work import DynamoDBParkedWork, RunAgain

# As long as an invocation may take; a second request would run the lane beside the first.
_INVOCATION_S_MAX: Final = 900


@Parameter(name="*")
@dataclass(frozen=True)
class OnAws:
    """Where an app on Lambda keeps what failed."""

    table: Annotated[
        str | None,
        Parameter(help="The DynamoDB table of an app on Lambda that holds its parked lanes, instead of a directory."),
    ] = None
    endpoint_url: Annotated[
        str | None, Parameter(help="With --table: where DynamoDB and Lambda are, if not at AWS.")
    ] = None


def parked_work(on_aws: OnAws, function: str | None = None) -> DynamoDBParkedWork | None:
    """What waits in the table that is meant, None where none is. Raises CommandError without boto3 or its settings."""
    if on_aws.table is None:
        if on_aws.endpoint_url is not None or function is not None:
            raise CommandError("expected --table beside --endpoint-url and --function, got none: name the table")
        return None
    client = _client("dynamodb", on_aws.endpoint_url)
    lanes = DynamoDBParkedLanes(lambda: client, on_aws.table, now_ms=lambda: time.time_ns() // 1_000_000)
    return DynamoDBParkedWork(lanes, None if function is None else _run_again(function, on_aws.endpoint_url))


def _run_again(function: str, endpoint_url: str | None) -> RunAgain:
    client = _client("lambda", endpoint_url)

    def run_again(table: str, lane: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        request = {"afterwrite": {"redrive": {"table": table, "lanes": [lane]}}}
        try:
            answer = client.invoke(FunctionName=function, Payload=json.dumps(request).encode())
        except (BotoCoreError, ClientError) as error:
            raise CommandError(f"{function} could not be invoked: {error}") from error
        said = answer["Payload"].read().decode("utf-8", "replace")
        if "FunctionError" in answer:
            raise CommandError(f"expected {function} to run {lane} again, it failed: {said}: see its log")

    return run_again


def _client(service: str, endpoint_url: str | None) -> Any:
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, NoRegionError
    except ImportError:
        raise CommandError("expected boto3, which reaches the table: pip install 'afterwrite[aws]'") from None
    config = (
        Config(read_timeout=_INVOCATION_S_MAX + 5, retries={"total_max_attempts": 1}) if service == "lambda" else None
    )
    try:
        return boto3.Session().client(service, endpoint_url=endpoint_url, config=config)  # type: ignore[call-overload]
    except NoRegionError:
        raise CommandError(
            "expected the region of --table, got none: set AWS_DEFAULT_REGION, or a profile that has one"
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise CommandError(f"no client of {service}: {error}") from error
