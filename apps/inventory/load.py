"""Replays purchases into the products table: several processes, each with several threads, all on the same products."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

from inventory import purchases
from inventory.alerts import suggested_order_quantity
from inventory.purchases import Purchase, product_id
from inventory.stock import Movement, Stock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

    from demonstration.writers import Count

RETRY_FOR_S: Final = 60.0
OPENING_DAY: Final = "1997-01-01"


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part: the purchases whose index leaves `number` when divided by `of`."""

    number: int
    of: int
    endpoint_url: str
    table_name: str
    purchases: int | None
    threads: int
    manifest: Path


def client(endpoint_url: str, threads: int) -> DynamoDBClient:
    """A DynamoDB client for an engine on this machine; Stock does the retrying."""
    session = boto3.session.Session(
        aws_access_key_id="local",
        aws_secret_access_key="local",  # noqa: S106 - the engine asks for none
        region_name="us-east-1",
    )
    return session.client(
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


def listing(number: int, *, again: bool = False) -> Movement:
    """The movement that puts a product's first units on the shelf."""
    again_mark = "-again" if again else ""
    return Movement(f"list-{number:04d}{again_mark}", "listing", product_id(number), 40 + number % 60, 0, OPENING_DAY)


def open_shop(stock: Stock, numbers: Iterable[int], *, again: bool = False) -> list[Movement]:
    """List the products of these numbers. Every third has a reorder quantity of its own."""
    listings = [listing(number, again=again) for number in numbers]
    for number, each in zip(numbers, listings, strict=True):
        stock.list_product(
            each,
            name=f"Album {number}",
            sku=f"SKU-{number:06d}",
            price_cents=999 + number,
            threshold=15 + number % 20,
            reorder=90 if number % 3 == 0 else None,
            by="catalogue",
        )
    return listings


def write_share(share: Share, written: Count) -> None:
    """Make the share's purchases and write down every movement that was acknowledged."""
    chosen = purchases.load(share.purchases)[share.number :: share.of]
    stock = Stock(client(share.endpoint_url, share.threads), share.table_name, retry_for_s=RETRY_FOR_S)
    with share.manifest.open("w", encoding="utf-8") as manifest, ThreadPoolExecutor(share.threads) as threads:
        futures: list[Future[list[Movement]]] = [
            threads.submit(_sell_all, stock, chosen[number :: share.threads], written)
            for number in range(share.threads)
        ]
        failed = [f for f in wait(futures, return_when=FIRST_EXCEPTION).done if f.exception() is not None]
        if failed:
            threads.shutdown(cancel_futures=True)
        for future in failed or futures:
            manifest.writelines(json.dumps(asdict(movement)) + "\n" for movement in future.result())


def _sell_all(stock: Stock, chosen: list[Purchase], written: Count) -> list[Movement]:
    movements: list[Movement] = []
    for purchase in chosen:
        movements.extend(sell(stock, purchase))
        with written.get_lock():
            written.value += 1
    return movements


def sell(stock: Stock, purchase: Purchase) -> list[Movement]:
    """Make a purchase; where too few are in stock, once a delivery has come. What moved, in order.

    Another writer may sell what the delivery brought, or have one come first: then it is tried again.
    """
    day = purchase.day.isoformat()
    sale = Movement(purchase.id, "sale", purchase.product_id, purchase.units, purchase.cents, day)
    movements: list[Movement] = []
    for attempt in range(1_000):
        if stock.sell(sale, by=f"customer-{purchase.customer_id}"):
            return [*movements, sale]
        item = stock.get(purchase.product_id)
        if item is None:
            raise AssertionError(f"{purchase.product_id} is not offered: list it before it is sold")
        numbers = {name: int(value["N"]) for name, value in item.items() if "N" in value}
        if numbers["quantity"] >= purchase.units:
            continue
        units = suggested_order_quantity(numbers) + purchase.units
        delivery = Movement(f"{purchase.id}-restock-{attempt}", "restock", purchase.product_id, units, 0, day)
        if stock.restock(delivery, by="warehouse", below=purchase.units):
            movements.append(delivery)
    raise AssertionError(f"{purchase.id} was outrun by other purchases 1,000 times")


def read(manifests: Iterable[Path]) -> Iterator[Movement]:
    """The movements that were written down."""
    for path in manifests:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                fields: dict[str, Any] = json.loads(line)
                yield Movement(**fields)
