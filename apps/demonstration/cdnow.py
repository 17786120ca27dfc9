"""Real orders to replay: CDNOW's, 69,659 orders of 23,570 customers in 1997 and 1998.

The data set is Fader and Hardie's; its file comes with the package `lifetimes`, of which nothing else is used. It says
who bought how many CDs when and for how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

_FILE: Final = "lifetimes/datasets/CDNOW_master.txt"


@dataclass(frozen=True, slots=True)
class Order:
    """`units` CDs for `cents` in all; `number` is its line in the file, counted from 0."""

    number: int
    customer_id: str
    day: date
    units: int
    cents: int


def load(limit: int | None = None) -> list[Order]:
    """The first `limit` orders, all by default, in the order of their days."""
    path = Path(str(distribution("lifetimes").locate_file(_FILE)))
    lines = path.read_text(encoding="ascii").splitlines()[1:]
    return sorted(map(order, range(len(lines)), lines), key=lambda each: (each.day, each.number))[:limit]


def order(number: int, line: str) -> Order:
    """The order in a line of the file, which holds customer, day, number of CDs and dollars."""
    customer_id, day, units, dollars = line.split()
    return Order(
        number=number,
        customer_id=customer_id,
        day=date(int(day[:4]), int(day[4:6]), int(day[6:])),
        units=int(units),
        cents=int(Decimal(dollars) * 100),
    )
