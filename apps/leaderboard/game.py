"""The write side: points are added to a player's score of a day, each once; scores are corrected and taken away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demonstration.certain_writes import CertainWrites

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

# A score's first version is the time, so that one that was removed and comes again goes on above what it had.
_NEXT_VERSION = "version = if_not_exists(version, :now) + :one"


@dataclass(frozen=True, slots=True)
class Points:
    """Points of a player on a day. `id` is their client request token: at most 36 characters, never used again."""

    id: str
    player_id: str
    day: str
    points: int


class Game:
    """Writes scores. Safe for use by several threads.

    `dynamodb_client` is boto3's low-level client. A call that cannot learn its request's fate for `retry_for_s`
    seconds raises botocore's last error.
    """

    def __init__(self, dynamodb_client: DynamoDBClient, table_name: str, *, retry_for_s: float = 30.0) -> None:
        self._writes = CertainWrites(dynamodb_client, retry_for_s=retry_for_s)
        self._table = table_name

    def add(self, points: Points) -> None:
        """Add the points to the player's score of the day."""
        update = {
            "TableName": self._table,
            "Key": _key(points.player_id, points.day),
            "UpdateExpression": f"SET {_NEXT_VERSION}, lastPoints = :id ADD score :points",
            "ExpressionAttributeValues": {
                ":points": _number(points.points),
                ":now": _number(time.time_ns() // 1000),
                ":one": _number(1),
                ":id": {"S": points.id},
            },
        }
        self._writes.once({"Update": update}, points.id)

    def correct(self, player_id: str, day: str, score: int) -> None:
        """Set the score to what it should have been."""
        self._writes.until_answered(
            self._writes.client.update_item,
            TableName=self._table,
            Key=_key(player_id, day),
            UpdateExpression=f"SET {_NEXT_VERSION}, score = :score",
            ExpressionAttributeValues={
                ":score": _number(score),
                ":now": _number(time.time_ns() // 1000),
                ":one": _number(1),
            },
        )

    def disqualify(self, player_id: str, day: str) -> None:
        """Take the player's score of the day away."""
        self._writes.until_answered(self._writes.client.delete_item, TableName=self._table, Key=_key(player_id, day))


def _key(player_id: str, day: str) -> Mapping[str, Any]:
    return {"playerId": {"S": player_id}, "day": {"S": day}}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
