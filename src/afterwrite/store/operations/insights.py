"""DynamoDB's operations on contributor insights, of tables and indexes: a setting that nothing here reads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store import tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.tables import Catalog, Table
from afterwrite.table import fields, wording
from afterwrite.table.fields import Violations

_LISTED_MAX: Final = 100
_ACTIONS: Final = ("ENABLE", "DISABLE")
_ALL_KEYS: Final = "ACCESSED_AND_THROTTLED_KEYS"
_MODES: Final = (_ALL_KEYS, "THROTTLED_KEYS")
_RULES: Final = {_ALL_KEYS: ("PKC", "SKC", "PKT", "SKT"), "THROTTLED_KEYS": ("PKT", "SKT")}


def by_name() -> Mapping[str, Callable[[Body], Prepared]]:
    """The operations by their names."""
    return {
        "UpdateContributorInsights": _update,
        "DescribeContributorInsights": _describe,
        "ListContributorInsights": _list,
    }


def _update(body: Body) -> Write:
    violations = Violations()
    fields.note_table_name(violations, body)
    if body.get("IndexName") is not None:
        violations.index_name(body, "indexName")
    violations.choice(body, "ContributorInsightsAction", _ACTIONS, "contributorInsightsAction")
    if body.get("ContributorInsightsMode") is not None:
        violations.choice(body, "ContributorInsightsMode", _MODES, "contributorInsightsMode")
    violations.check()
    name = fields.checked_table_name(str(body["TableName"]))
    index = fields.index_name(body)
    enables, mode = body["ContributorInsightsAction"] == "ENABLE", body.get("ContributorInsightsMode")

    def run(transaction: WriteTransaction) -> Mapping[str, Any]:
        table = _checked(tables.catalog(transaction), name, index)
        known = table.insights.get(index or "", {})
        kept = {
            "enabled": enables,
            "mode": mode or known.get("mode", _ALL_KEYS),
            "changed_at_ms": transaction.now_ms,
        }
        tables.save(transaction, replace(table, insights={**table.insights, index or "": kept}))
        status = "ENABLING" if enables else "DISABLING"
        return {**_named(table, index), "ContributorInsightsStatus": status, "ContributorInsightsMode": kept["mode"]}

    return Write(run)


def _describe(body: Body) -> Read:
    name = fields.table_name_of_table_request(body)
    index = fields.index_name(body)

    def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
        table = _checked(catalog, name, index)
        return orjson.dumps({**_named(table, index), **_described(table, index)})

    return Read(run)


def _described(table: Table, index: str | None) -> dict[str, Any]:
    known = table.insights.get(index or "")
    if known is None:
        return {"ContributorInsightsStatus": "DISABLED"}
    described = {
        "ContributorInsightsStatus": "ENABLED" if known["enabled"] else "DISABLED",
        "ContributorInsightsMode": known["mode"],
        "LastUpdateDateTime": known["changed_at_ms"] / 1000,
    }
    if known["enabled"]:
        described["ContributorInsightsRuleList"] = _rules(table, index, known)
    return described


def _rules(table: Table, index: str | None, known: Mapping[str, Any]) -> list[str]:
    """The names of CloudWatch's rules, of which those of sort keys are for what has one."""
    found = None if index is None else table.index_named(index)
    has_sort_key = bool((table.schema if found is None else found.schema).sort_attributes)
    of = table.name if index is None else f"{table.name}-{index}"
    return [
        f"DynamoDBContributorInsights-{rule}-{of}-{known['changed_at_ms']}"
        for rule in _RULES[known["mode"]]
        if has_sort_key or rule.startswith("P")
    ]


def _list(body: Body) -> Read:
    name = None if fields.text(body, "TableName") is None else fields.table_name_of_table_request(body)
    limit = fields.integer(body, "MaxResults")
    if limit is not None:
        fields.check_value(limit, "MaxResults", 1, _LISTED_MAX)
    start = _start_of(fields.text(body, "NextToken"))

    def run(_transaction: ReadTransaction, catalog: Catalog) -> bytes:
        asked = catalog if name is None else {name: tables.described_table(catalog, name)}
        found = [each for each in _summaries(asked) if [*each[0]] > start]
        most = _LISTED_MAX if limit is None else limit
        answer: dict[str, Any] = {"ContributorInsightsSummaries": [summary for _, summary in found[:most]]}
        if len(found) > most:
            answer["NextToken"] = base64.b64encode(orjson.dumps(found[most - 1][0])).decode()
        return orjson.dumps(answer)

    return Read(run)


def _start_of(token: str | None) -> list[str]:
    if token is None:
        return []
    try:
        start = orjson.loads(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        raise wording.invalid("Invalid NextToken") from None
    if type(start) is not list or not all(type(each) is str for each in start):
        raise wording.invalid("Invalid NextToken")
    return start


def _summaries(catalog: Catalog) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for name, table in sorted(catalog.items()):
        for index, known in sorted(table.insights.items()):
            if known["enabled"] and (not index or table.index_named(index) is not None):
                status = {"ContributorInsightsStatus": "ENABLED", "ContributorInsightsMode": known["mode"]}
                yield (name, index), {**_named(table, index or None), **status}


def _checked(catalog: Catalog, name: str, index: str | None) -> Table:
    """The table of a request. Raises ResourceNotFoundException for one that is not there, and for such an index."""
    table = tables.described_table(catalog, name)
    if index is not None and table.index_named(index) is None:
        raise ServiceError("ResourceNotFoundException", f"Requested resource not found: Index: {index} not found")
    return table


def _named(table: Table, index: str | None) -> dict[str, str]:
    return {"TableName": table.name} if index is None else {"TableName": table.name, "IndexName": index}
