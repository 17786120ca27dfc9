"""What a table is set to besides its keys: how it is paid for, its throughput, its class, its encryption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from afterwrite.table import fields, wording
from afterwrite.table.fields import Body, Violations

PROVISIONED, PAY_PER_REQUEST = "PROVISIONED", "PAY_PER_REQUEST"
BILLING_MODES = (PROVISIONED, PAY_PER_REQUEST)
_BILLING_MODE_FIELDS = ("BillingMode", "TableThroughputMode")

VIEW_TYPES = ("NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY")
_ON_DEMAND_UNITS = (12_000, 4_000)
_UNITS_MAX = 1_000_000_000_000
_RECOVERY_DAYS = 35
_DAY_MS = 86_400_000
_TABLE_CLASSES = ("STANDARD", "STANDARD_INFREQUENT_ACCESS")
_ENCRYPTIONS = ("AES256", "KMS")
_UNBOUNDED = -1
_MANAGED_KEY = "alias/aws/dynamodb"


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a table is set to, without bearing on its items.

    Throughputs are read and write capacity units, 0 where requests are paid for one by one; `index_units` are those
    of indexes by name. `on_demand_units` is the `OnDemandThroughput`, which is remembered and bounds nothing, as is
    that of indexes by name;
    `encryption_key` the customer's key that the table is said to be encrypted with. `units_changed_at_ms` says when
    the units of indexes by name, and of the table by "", were last raised and lowered, `units_lowered` how often they
    were lowered on that day.
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
    index_on_demand_units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    encryption_key: str | None = None
    units_changed_at_ms: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)
    units_lowered: Mapping[str, int] = field(default_factory=dict)
    recoverable_since_ms: int = 0
    recovery_days: int = _RECOVERY_DAYS

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
                "units_changed_at_ms": {
                    name: tuple(times) for name, times in parsed.get("units_changed_at_ms", {}).items()
                },
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

    def dated(self, before: TableOptions, now_ms: int) -> TableOptions:
        """The options with the times at which their units were raised and lowered, of a change at `now_ms`."""
        changed, lowered = dict(self.units_changed_at_ms), dict(self.units_lowered)
        old_units, new_units = {"": before.units, **before.index_units}, {"": self.units, **self.index_units}
        for name, new in new_units.items():
            old = old_units.get(name)
            if old is None or old == new:
                continue
            raised_at_ms, lowered_at_ms = changed.get(name, (None, None))
            if any(becomes > was for was, becomes in zip(old, new, strict=True)):
                raised_at_ms = now_ms
            if any(becomes < was for was, becomes in zip(old, new, strict=True)):
                lowered[name] = self.lowered_on_day(name, now_ms) + 1
                lowered_at_ms = now_ms
            changed[name] = raised_at_ms, lowered_at_ms
        return replace(self, units_changed_at_ms=changed, units_lowered=lowered)

    def lowered_on_day(self, name: str, now_ms: int) -> int:
        """How often the units of an index, or of the table by "", have been lowered on the (UTC) day of `now_ms`."""
        _, lowered_at_ms = self.units_changed_at_ms.get(name, (None, None))
        if lowered_at_ms is None or lowered_at_ms // _DAY_MS != now_ms // _DAY_MS:
            return 0
        return self.units_lowered.get(name, 1)

    def recoverable(self, *, enabled: bool, days: int | None, now_ms: int) -> TableOptions:
        """The options with point-in-time recovery switched, of the last `days` (35 unless told)."""
        since_ms = self.recoverable_since_ms if self.point_in_time_recovery else now_ms
        return replace(
            self,
            point_in_time_recovery=enabled,
            recoverable_since_ms=since_ms,
            recovery_days=_RECOVERY_DAYS if days is None else days,
        )


def capacity_units(throughput: Body, index_name: str | None = None) -> tuple[int, int]:
    """The read and write units of a `ProvisionedThroughput` that has both, of a table or of an index."""
    of_index = "" if index_name is None else f" for index {index_name}"
    units: list[int] = []
    for field_name in ("ReadCapacityUnits", "WriteCapacityUnits"):
        value = int(throughput[field_name])
        if value > _UNITS_MAX:
            raise wording.invalid(f"Given value {value} for {field_name} is out of bounds{of_index}")
        units.append(value)
    return units[0], units[1]


def note_billing_mode(violations: Violations, body: Body) -> None:
    """Note a billing mode that there is not, by either of its names."""
    for name in _BILLING_MODE_FIELDS:
        if body.get(name) is not None:
            violations.choice(body, name, BILLING_MODES, f"{name[0].lower()}{name[1:]}")


def billing_mode(body: Body) -> str | None:
    """The billing mode that a table's request asks for; its older name goes before the newer one."""
    return next((body[name] for name in _BILLING_MODE_FIELDS if body.get(name) is not None), None)


def check_index_throughput(index: Body, billing_mode: str) -> None:
    """Refuse an index whose `ProvisionedThroughput` is missing, or does not go with the billing mode."""
    given = index.get("ProvisionedThroughput") is not None
    if billing_mode == PROVISIONED and not given:
        raise wording.invalid_parameter(f"ProvisionedThroughput is not specified for index: {index['IndexName']}")
    if billing_mode == PAY_PER_REQUEST and given:
        raise wording.invalid_parameter(
            f"ProvisionedThroughput should not be specified for index: {index['IndexName']} when "
            "BillingMode is PAY_PER_REQUEST"
        )


def check_new_index_throughput(index: Body, billing_mode: str) -> None:
    """Refuse an index that UpdateTable makes, for the same as `check_index_throughput`, in its words."""
    given = index.get("ProvisionedThroughput") is not None
    if billing_mode == PROVISIONED and not given:
        raise wording.invalid_parameter(
            f"Both ReadCapacityUnits and WriteCapacityUnits must be specified for index: {index['IndexName']}"
        )
    if billing_mode == PAY_PER_REQUEST and given:
        raise wording.invalid_parameter(
            f"Neither ReadCapacityUnits nor WriteCapacityUnits can be specified for index: {index['IndexName']} "
            "when BillingMode is PAY_PER_REQUEST"
        )


def check_on_demand_change(index: Body) -> None:
    """Refuse a change of an index that is billed per request, other than of what there is to change of it."""
    changed = any(index.get(name) not in (None, {}) for name in ("OnDemandThroughput", "WarmThroughput"))
    if index.get("ProvisionedThroughput") is not None or not changed:
        raise wording.invalid_parameter(
            f"The only Updates for index: {index['IndexName']} when TableThroughputMode is PAY_PER_REQUEST can be "
            "to OnDemandThroughput, WarmThroughput"
        )


def index_throughput(index: Body) -> tuple[int, int]:
    """The read and write units that an index is given."""
    return capacity_units(index["ProvisionedThroughput"], str(index["IndexName"]))


def table_class(body: Body) -> str | None:
    """A request's `TableClass`, None where it has none."""
    value = fields.text(body, "TableClass")
    if value is not None and value not in _TABLE_CLASSES:
        raise wording.invalid(
            "Invalid table-class parameter provided. Please try again with a valid table-class value: "
            f"[{', '.join(_TABLE_CLASSES)}]."
        )
    return value


def on_demand_units(body: Body, billing_mode: str) -> dict[str, int]:
    """What a request's `OnDemandThroughput` says, {} where it has none."""
    wanted = fields.structure(body, "OnDemandThroughput", "OnDemandThroughput")
    if wanted is None:
        return {}
    found = {name: fields.integer(wanted, name) for name in ("MaxReadRequestUnits", "MaxWriteRequestUnits")}
    given = {name: units for name, units in found.items() if units is not None}
    whose = f"index : {body['IndexName']}" if "IndexName" in body else "table"
    for name, units in given.items():
        if units < 1 and units != _UNBOUNDED:
            raise wording.invalid_parameter(
                f"Requested {name} for OnDemandThroughput for {whose} is outside of valid range"
            )
    check_on_demand(given, billing_mode)
    return given


def check_on_demand(units: Mapping[str, int], billing_mode: str) -> None:
    """Refuse bounds of what is read and written on demand where the capacity is provisioned."""
    for name in units:
        if billing_mode == PROVISIONED:
            raise wording.invalid_parameter(
                f"{name} for OnDemandThroughput cannot be specified when the table BillingMode is {PROVISIONED}"
            )


def with_index(options: TableOptions, index: Body | None) -> TableOptions:
    """The options with what the request of a new index, if there is one, says of its throughput."""
    if index is None:
        return options
    options = _with_bound_index(options, index)
    warm = fields.structure(index, "WarmThroughput", "WarmThroughput")
    if warm is None:
        return options
    name = str(index["IndexName"])
    bound = "initial throughput for OnDemand" if options.billing_mode == PAY_PER_REQUEST else "ProvisionedThroughput"
    units = warm_units(warm, options.index_warm_throughput(name), f"index {name}", bound)
    return replace(options, index_warm_units={**options.index_warm_units, name: units})


def _with_bound_index(options: TableOptions, index: Body) -> TableOptions:
    units = on_demand_units(index, options.billing_mode)
    if not units:
        return options
    name = str(index["IndexName"])
    known = options.index_on_demand_units
    return replace(options, index_on_demand_units={**known, name: {**known.get(name, {}), **units}})


def with_changed_index(options: TableOptions, index: Body) -> TableOptions:
    """The options with what the request of an index's change says of its throughput."""
    options = _with_bound_index(options, index)
    warm = fields.structure(index, "WarmThroughput", "WarmThroughput")
    if warm is None:
        return options
    name = str(index["IndexName"])
    bound = "current WarmThroughput, decreasing WarmThroughput is not supported"
    units = warm_units(warm, options.index_warm_throughput(name), f"index {name}", bound)
    return replace(options, index_warm_units={**options.index_warm_units, name: units})


def warm_units(wanted: Body, least: tuple[int, int], whose: str, bound: str) -> tuple[int, int]:
    """The read and write units that a `WarmThroughput` asks for. Raises ServiceError for less than `least`."""
    units: list[int] = []
    for field_name, floor in zip(("ReadUnitsPerSecond", "WriteUnitsPerSecond"), least, strict=True):
        value = fields.integer(wanted, field_name)
        if value is not None and value < floor:
            unit = "ReadCapacityUnits" if field_name == "ReadUnitsPerSecond" else "WriteCapacityUnits"
            least_of = f"{unit} of {bound}" if bound == "ProvisionedThroughput" else bound
            raise wording.invalid_parameter(
                f"Requested {field_name} for WarmThroughput for {whose} is lower than {least_of}"
            )
        units.append(floor if value is None else value)
    return units[0], units[1]


def note_settings(violations: Violations, body: Body) -> None:
    """Note what is wrong, each by itself, with the fields of a request's stream and of its encryption."""
    stream = fields.structure(body, "StreamSpecification", "StreamSpecification")
    if stream is not None and stream.get("StreamEnabled") is None:
        violations.add(None, "streamSpecification.streamEnabled", "Member must not be null")
    if stream is not None and stream.get("StreamViewType") is not None:
        violations.choice(stream, "StreamViewType", VIEW_TYPES, "streamSpecification.streamViewType")
    specification = fields.structure(body, "SSESpecification", "SSESpecification")
    if specification is not None and specification.get("SSEType") is not None:
        violations.choice(specification, "SSEType", _ENCRYPTIONS, "sSESpecification.sSEType")


def encryption(body: Body) -> Body | None:
    """A request's `SSESpecification`, validated; None where it has none."""
    specification = fields.structure(body, "SSESpecification", "SSESpecification")
    if specification is None:
        return None
    kind = fields.text(specification, "SSEType")
    if fields.flag(specification, "Enabled", default=False):
        if kind == "AES256":
            raise wording.invalid_parameter("SSEType AES256 is not supported")
        if not kind and specification.get("KMSMasterKeyId") is not None:
            raise wording.invalid_parameter("SSEType KMS is required if KMSMasterKeyId is specified")
        return specification
    for name in ("SSEType", "KMSMasterKeyId"):
        if specification.get(name) is not None:
            raise wording.invalid_parameter(f"{name} can not be specified if Enabled is false")
    return specification


def encryption_key(specification: Body) -> str | None:
    """The key that a table is to be encrypted with, None for the service's own."""
    if not fields.flag(specification, "Enabled", default=False):
        return None
    return fields.text(specification, "KMSMasterKeyId") or _MANAGED_KEY


def _pairs(units: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, int]]:
    return {name: (read, write) for name, (read, write) in units.items()}
