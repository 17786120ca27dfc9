"""The write side: every movement of money is one conditional update, and no balance falls below zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from demonstration.certain_writes import CertainWrites

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Kind: TypeAlias = Literal["opening", "deposit", "spending", "closing"]


@dataclass(frozen=True, slots=True)
class Movement:
    """Money that comes or goes. `id` is its client request token: at most 36 characters, never used again."""

    id: str
    kind: Kind
    account_id: str
    cents: int
    day: str

    def to_wire(self) -> dict[str, Any]:
        """What the item keeps of its last movement."""
        attributes = {"id": {"S": self.id}, "kind": {"S": self.kind}, "day": {"S": self.day}}
        return {"M": {**attributes, "cents": _number(self.cents)}}


class Bank:
    """Opens, moves and closes accounts. Safe for use by several threads.

    `dynamodb_client` is boto3's low-level client. A call that cannot learn its request's fate for `retry_for_s`
    seconds raises botocore's last error.
    """

    def __init__(self, dynamodb_client: DynamoDBClient, table_name: str, *, retry_for_s: float = 30.0) -> None:
        self._writes = CertainWrites(dynamodb_client, retry_for_s=retry_for_s)
        self._table = table_name

    def open(self, opening: Movement, owner: str) -> bool:
        """Open an account with the movement's money; False if it is there already. Its id is never used again."""
        item = {
            **_key(opening.account_id),
            "owner": {"S": owner},
            "balanceCents": _number(opening.cents),
            "version": _number(1),
            "movement": opening.to_wire(),
        }
        put = {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(accountId)"}
        return self._writes.once({"Put": put}, opening.id)

    def deposit(self, deposit: Movement) -> bool:
        """Pay the movement's money in; False where there is no such account."""
        return self._move(deposit, "balanceCents + :cents", condition="attribute_exists(accountId)")

    def spend(self, spending: Movement) -> bool:
        """Take the movement's money out; False, and nothing taken, where less is left or no such account."""
        return self._move(spending, "balanceCents - :cents", condition="balanceCents >= :cents")

    def rename(self, account_id: str, owner: str) -> None:
        """Give the account another owner; its money and its version stay as they are."""
        self._writes.until_answered(
            self._writes.client.update_item,
            TableName=self._table,
            Key=_key(account_id),
            UpdateExpression="SET #owner = :owner",
            ConditionExpression="attribute_exists(accountId)",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
        )

    def close(self, account_id: str) -> None:
        """Close the account, with whatever is left in it."""
        self._writes.until_answered(self._writes.client.delete_item, TableName=self._table, Key=_key(account_id))

    def balance_cents(self, account_id: str) -> int | None:
        """What is in the account now, None where there is none."""
        answer: Mapping[str, Any] = self._writes.until_answered(
            self._writes.client.get_item, TableName=self._table, Key=_key(account_id), ConsistentRead=True
        )
        return int(answer["Item"]["balanceCents"]["N"]) if "Item" in answer else None

    def _move(self, movement: Movement, balance: str, *, condition: str) -> bool:
        if movement.cents < 1:
            raise ValueError(f"expected a movement of at least 1 cent, got {movement.cents} for {movement.id}")
        update = {
            "TableName": self._table,
            "Key": _key(movement.account_id),
            "UpdateExpression": f"SET balanceCents = {balance}, version = version + :one, movement = :movement",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": {
                ":cents": _number(movement.cents),
                ":one": _number(1),
                ":movement": movement.to_wire(),
            },
        }
        return self._writes.once({"Update": update}, movement.id)


def _key(account_id: str) -> dict[str, Any]:
    return {"accountId": {"S": account_id}}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
