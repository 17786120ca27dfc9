"""What a table is set to besides its keys: how it is paid for, its throughput, its class, its encryption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from afterwrite.table import fields
from afterwrite.table.fields import Body

PROVISIONED, PAY_PER_REQUEST = "PROVISIONED", "PAY_PER_REQUEST"

_ON_DEMAND_UNITS = (12_000, 4_000)
_MANAGED_KEY = "alias/aws/dynamodb"
_INVALID = "One or more parameter values were invalid: "


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a table is set to, without bearing on its items.

    Throughputs are read and write capacity units, 0 where requests are paid for one by one; `index_units` are those
    of indexes by name. `on_demand_units` is the `OnDemandThroughput`, which is remembered and bounds nothing;
    `encryption_key` the customer's key that the table is said to be encrypted with.
    """

    billing_mode: str = PAY_PER_REQUEST
    units: tuple[int, int] = (0, 0)
    index_units: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    table_class: str | None = None
    deletion_protection: bool = False
    point_in_time_recovery: bool = False
    warm_units: tuple[int, int] | None = None
    index_warm_units: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    on_demand_units: Mapping[str, int] = field(default_factory=dict)
    encryption_key: str | None = None

    @classmethod
    def from_json(cls, parsed: Mapping[str, Any]) -> TableOptions:
        """Read options of the catalog, as `dataclasses.asdict` made them."""
        warm = parsed["warm_units"]
        return cls(
            **{
                **parsed,
                "units": tuple(parsed["units"]),
                "index_units": _pairs(parsed["index_units"]),
                "warm_units": None if warm is None else tuple(warm),
                "index_warm_units": _pairs(parsed.get("index_warm_units", {})),
            }
        )

    @property
    def warm_throughput(self) -> tuple[int, int]:
        """The read and write units a second that the service holds ready, as it would tell."""
        if self.warm_units is not None:
            return self.warm_units
        return _ON_DEMAND_UNITS if self.billing_mode == PAY_PER_REQUEST else self.units

    def index_warm_throughput(self, index: str) -> tuple[int, int]:
        """As `warm_throughput`, of an index."""
        if index in self.index_warm_units:
            return self.index_warm_units[index]
        return _ON_DEMAND_UNITS if self.billing_mode == PAY_PER_REQUEST else self.index_units.get(index, (0, 0))


def on_demand_units(body: Body, billing_mode: str) -> dict[str, int]:
    """What a request's `OnDemandThroughput` says, {} where it has none."""
    wanted = fields.structure(body, "OnDemandThroughput", "OnDemandThroughput")
    if wanted is None:
        return {}
    if billing_mode != PAY_PER_REQUEST:
        raise fields.invalid(
            f"{_INVALID}OnDemandThroughput cannot be specified when BillingMode is not {PAY_PER_REQUEST}"
        )
    found = {name: fields.integer(wanted, name) for name in ("MaxReadRequestUnits", "MaxWriteRequestUnits")}
    return {name: units for name, units in found.items() if units is not None}


def with_index(options: TableOptions, index: Body | None) -> TableOptions:
    """The options with what the request of a new index, if there is one, says of its throughput."""
    warm = None if index is None else fields.structure(index, "WarmThroughput", "WarmThroughput")
    if index is None or warm is None:
        return options
    name = str(index["IndexName"])
    bound = "initial throughput for OnDemand" if options.billing_mode == PAY_PER_REQUEST else "ProvisionedThroughput"
    units = warm_units(warm, options.index_warm_throughput(name), f"index {name}", bound)
    return replace(options, index_warm_units={**options.index_warm_units, name: units})


def warm_units(wanted: Body, least: tuple[int, int], whose: str, bound: str) -> tuple[int, int]:
    """The read and write units that a `WarmThroughput` asks for. Raises ServiceError for less than `least`."""
    units: list[int] = []
    for field_name, floor in zip(("ReadUnitsPerSecond", "WriteUnitsPerSecond"), least, strict=True):
        value = fields.integer(wanted, field_name)
        if value is not None and value < floor:
            raise fields.invalid(
                f"{_INVALID}Requested {field_name} for WarmThroughput for {whose} is lower than {bound}"
            )
        units.append(floor if value is None else value)
    return units[0], units[1]


def encryption(body: Body) -> Body | None:
    """A request's `SSESpecification`, validated; None where it has none."""
    specification = fields.structure(body, "SSESpecification", "SSESpecification")
    if specification is None or fields.flag(specification, "Enabled", default=False):
        return specification
    for name in ("SSEType", "KMSMasterKeyId"):
        if specification.get(name) is not None:
            raise fields.invalid(f"{_INVALID}{name} can not be specified if Enabled is false")
    return specification


def encryption_key(specification: Body) -> str | None:
    """The key that a table is to be encrypted with, None for the service's own."""
    if not fields.flag(specification, "Enabled", default=False):
        return None
    return fields.text(specification, "KMSMasterKeyId") or _MANAGED_KEY


def _pairs(units: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    return {name: (read, write) for name, (read, write) in units.items()}
