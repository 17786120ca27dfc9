"""What the cache shows of a product.

product:ID    the item as JSON
stock:ID      its quantity alone
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def entries(product: Mapping[str, Any]) -> dict[str, str]:
    """The product's values in the cache, by their keys."""
    product_id = product["productId"]
    return {f"product:{product_id}": as_json(product), f"stock:{product_id}": str(int(product["quantity"]))}


def as_json(product: Mapping[str, Any]) -> str:
    """The item as it stands in the cache: numbers as numbers, its attributes in the order of their names."""
    return json.dumps(product, default=_number, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _number(value: Any) -> int | float:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"expected text, numbers, lists and maps in a product, got {value!r}: keep it out of the item")
