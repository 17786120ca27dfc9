"""The shop's write side: every movement of stock is one conditional update, and stock never falls below zero."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from demonstration.certain_writes import CertainWrites

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

Kind: TypeAlias = Literal["listing", "sale", "restock"]


@dataclass(frozen=True, slots=True)
class Movement:
    """Units of a product that come or go. `id` is its client request token: at most 36 characters, never used again."""

    id: str
    kind: Kind
    product_id: str
    units: int
    cents: int
    day: str

    def to_wire(self) -> dict[str, Any]:
        """What the item keeps of its last movement."""
        attributes = {"id": {"S": self.id}, "kind": {"S": self.kind}, "day": {"S": self.day}}
        return {"M": {**attributes, "units": _number(self.units), "cents": _number(self.cents)}}


class Stock:
    """Lists, sells, restocks, edits and discontinues products. Safe for use by several threads.

    `dynamodb_client` is boto3's low-level client. A call that cannot learn its request's fate for `retry_for_s`
    seconds raises botocore's last error.
    """

    def __init__(self, dynamodb_client: DynamoDBClient, table_name: str, *, retry_for_s: float = 30.0) -> None:
        self._writes = CertainWrites(dynamodb_client, retry_for_s=retry_for_s)
        self._table = table_name

    def list_product(
        self, listing: Movement, *, name: str, sku: str, price_cents: int, threshold: int, reorder: int | None, by: str
    ) -> bool:
        """Offer a product with the listing's units in stock; False if it is offered already.

        It is to be ordered, `reorder` units where that is given, when `threshold` or fewer are left.
        """
        item = {
            **_key(listing.product_id),
            "name": {"S": name},
            "sku": {"S": sku},
            "priceCents": _number(price_cents),
            "quantity": _number(listing.units),
            "reorderThreshold": _number(threshold),
            "lastModifiedBy": {"S": by},
            "movement": listing.to_wire(),
        }
        if reorder is not None:
            item["reorderQuantity"] = _number(reorder)
        put = {"TableName": self._table, "Item": item, "ConditionExpression": "attribute_not_exists(productId)"}
        return self._writes.once({"Put": put}, listing.id)

    def sell(self, sale: Movement, by: str) -> bool:
        """Take the sale's units from the stock; False, and nothing taken, where fewer are left or no such product."""
        return self._move(sale, "quantity - :units", by, condition="quantity >= :units")

    def restock(self, delivery: Movement, by: str, *, below: int) -> bool:
        """Add the delivery's units; False, and nothing added, where `below` or more are there or no such product."""
        return self._move(delivery, "quantity + :units", by, condition="quantity < :below", below=below)

    def set_price(self, product_id: str, price_cents: int, by: str) -> None:
        """Change the product's price; its stock stays as it is."""
        self._writes.until_answered(
            self._writes.client.update_item,
            TableName=self._table,
            Key=_key(product_id),
            UpdateExpression="SET priceCents = :cents, lastModifiedBy = :by",
            ConditionExpression="attribute_exists(productId)",
            ExpressionAttributeValues={":cents": _number(price_cents), ":by": {"S": by}},
        )

    def discontinue(self, product_id: str) -> None:
        """Take the product out of the shop."""
        self._writes.until_answered(self._writes.client.delete_item, TableName=self._table, Key=_key(product_id))

    def get(self, product_id: str) -> Mapping[str, Any] | None:
        """The product's item as DynamoDB has it now, None where it is not offered."""
        answer = self._writes.until_answered(
            self._writes.client.get_item, TableName=self._table, Key=_key(product_id), ConsistentRead=True
        )
        item: Mapping[str, Any] | None = answer.get("Item")
        return item

    def _move(self, movement: Movement, quantity: str, by: str, *, condition: str, below: int | None = None) -> bool:
        if movement.units < 1:
            raise ValueError(f"expected a movement of at least 1 unit, got {movement.units} for {movement.id}")
        values = {":units": _number(movement.units), ":by": {"S": by}, ":movement": movement.to_wire()}
        if below is not None:
            values[":below"] = _number(below)
        update = {
            "TableName": self._table,
            "Key": _key(movement.product_id),
            "UpdateExpression": f"SET quantity = {quantity}, lastModifiedBy = :by, movement = :movement",
            "ConditionExpression": condition,
            "ExpressionAttributeValues": values,
        }
        return self._writes.once({"Update": update}, movement.id)


def _key(product_id: str) -> dict[str, Any]:
    return {"productId": {"S": product_id}}


def _number(value: int) -> dict[str, str]:
    return {"N": str(value)}
