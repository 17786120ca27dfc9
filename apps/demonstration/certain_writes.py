"""Writes whose fate is known in the end: a conditional write that happens once, however often it has to be sent.

A request whose answer was lost (a broken connection, a server that died after its commit) is sent again under the same
client request token, by which DynamoDB knows it again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, IncompleteReadError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

# After one of these nobody knows whether the request was carried out.
_FATE_UNKNOWN: Final = (HTTPClientError, ConnectionError, IncompleteReadError)
_TRY_AGAIN: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
_REASONS_TO_TRY_AGAIN: Final = frozenset({"TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"})
_PAUSE_S_FIRST: Final = 0.02
_PAUSE_S_MAX: Final = 0.5


def local_session() -> boto3.session.Session:
    """A session for an engine on this machine, which asks for no credentials."""
    return boto3.session.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the engine asks for none
        region_name="us-east-1",
    )


def dynamodb_client(endpoint_url: str, threads: int) -> DynamoDBClient:
    """A DynamoDB client for an engine on this machine; CertainWrites does the retrying."""
    return local_session().client(
        "dynamodb",
        endpoint_url=endpoint_url,
        config=Config(
            max_pool_connections=threads,
            parameter_validation=False,
            retries={"total_max_attempts": 1},
            connect_timeout=5,
            read_timeout=20,
        ),
    )


class CertainWrites:
    """Operations that are sent until their fate is known. Safe for use by several threads.

    `client` is boto3's low-level client. A call that cannot learn its request's fate for `retry_for_s` seconds raises
    botocore's last error.
    """

    def __init__(self, client: DynamoDBClient, *, retry_for_s: float = 30.0) -> None:
        self.client = client
        self._retry_for_s = retry_for_s

    def once(self, write: Mapping[str, Any], token: str) -> bool:
        """Carry out one write of a transaction; False, and nothing written, where its condition does not hold.

        `token` is the write's client request token: at most 36 characters, never used again.
        """
        try:
            self.until_answered(self.client.transact_write_items, TransactItems=[write], ClientRequestToken=token)
        except ClientError as error:
            if _reasons(error) == {"ConditionalCheckFailed"}:
                return False
            raise
        return True

    def until_answered(self, operation: Callable[..., Any], **parameters: Any) -> Any:
        """What the client's `operation` answers. One whose answer was lost is carried out again."""
        deadline = time.monotonic() + self._retry_for_s
        longest_s = _PAUSE_S_FIRST
        while True:
            pause_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311 - spreads writers, hides nothing
            try:
                return operation(**parameters)
            except _FATE_UNKNOWN:
                if time.monotonic() + pause_s > deadline:
                    raise
            except ClientError as error:
                if not _is_transient(error) or time.monotonic() + pause_s > deadline:
                    raise
            time.sleep(pause_s)
            longest_s = min(longest_s * 2, _PAUSE_S_MAX)


def _is_transient(error: ClientError) -> bool:
    reasons = _reasons(error)
    if reasons:
        return "ConditionalCheckFailed" not in reasons and reasons <= _REASONS_TO_TRY_AGAIN
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status >= 500 or error.response.get("Error", {}).get("Code", "") in _TRY_AGAIN


def _reasons(error: ClientError) -> set[str]:
    """Why a transaction was cancelled; nothing for any other error."""
    reasons: Any = error.response.get("CancellationReasons", [])
    return {reason.get("Code", "None") for reason in reasons} - {"None"}
