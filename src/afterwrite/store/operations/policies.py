"""DynamoDB's operations on resource-based policies: they are kept and told, and heeded by nobody here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import orjson

from afterwrite.errors import ServiceError
from afterwrite.store import tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.operations.descriptions import Descriptions
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.tables import Catalog, Table
from afterwrite.table import fields, wording
from afterwrite.table.fields import Violations
from afterwrite.table.table_requests import checked_policy

_ARN_CHARACTERS_MAX: Final = 1283
_REVISION_CHARACTERS_MAX: Final = 255
_NO_POLICY: Final = "NO_POLICY"
_POLICY, _REVISION, _EXPECTED = "Policy", "RevisionId", "ExpectedRevisionId"


class PolicyOperations:
    """The operations on policies of tables and of their streams."""

    def __init__(self, descriptions: Descriptions) -> None:
        self._descriptions = descriptions

    def by_name(self) -> Mapping[str, Callable[[Body], Prepared]]:
        """The operations by their names."""
        return {
            "PutResourcePolicy": self._put,
            "GetResourcePolicy": lambda body: Read(partial(self._get, _checked_arn(body))),
            "DeleteResourcePolicy": self._delete,
        }

    def _put(self, body: Body) -> Write:
        arn = _checked_arn(body, _POLICY)
        policy = checked_policy(str(fields.text(body, _POLICY)))
        fields.flag(body, "ConfirmRemoveSelfResourceAccess", default=False)
        expected = fields.text(body, _EXPECTED)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            table, place = self._place(tables.catalog(transaction), arn)
            known = table.policies.get(place)
            if expected is not None and expected != (_NO_POLICY if known is None else known[_REVISION]):
                raise _not_found(_not_expected(arn, table.name, expected, known))
            if known is not None and known[_POLICY] == policy:
                return {_REVISION: known[_REVISION]}
            newer = transaction.now_ms if known is None else max(transaction.now_ms, int(known[_REVISION]) + 1)
            kept = policy_kept(policy, newer)
            tables.save(transaction, replace(table, policies={**table.policies, place: kept}))
            return {_REVISION: kept[_REVISION]}

        return Write(run)

    def _get(self, arn: str, _transaction: ReadTransaction, catalog: Catalog) -> bytes:
        table, place = self._place(catalog, arn)
        known = table.policies.get(place)
        if known is None:
            raise _not_found(arn)
        return orjson.dumps(known)

    def _delete(self, body: Body) -> Write:
        arn = _checked_arn(body)
        expected = fields.text(body, _EXPECTED)

        def run(transaction: WriteTransaction) -> Mapping[str, Any]:
            table, place = self._place(tables.catalog(transaction), arn)
            known = table.policies.get(place)
            if expected is not None and (known is None or expected != known[_REVISION]):
                raise _not_found(_not_expected(arn, table.name, expected, known))
            if known is None:
                return {}
            left = {each: policy for each, policy in table.policies.items() if each != place}
            tables.save(transaction, replace(table, policies=left))
            return {_REVISION: known[_REVISION]}

        return Write(run)

    def _place(self, catalog: Catalog, arn: str) -> tuple[Table, str]:
        """The table of an ARN, and what of the table it names: "" for itself, or its stream."""
        name, _, place = arn.partition(":table/")[2].partition("/")
        table = catalog.get(name)
        if table is None:
            raise _absent(f"Table: {name}")
        if f"{self._descriptions.arn(table)}{place and f'/{place}'}" != arn:
            raise _absent(f"ResourceArn: {arn}")
        if place.startswith("index/"):
            raise wording.invalid_parameter(
                f"Invalid resource arn provided, only table or stream is accepted. Provided resource arn: {arn}"
            )
        if place and place != f"stream/{table.stream_label}":
            raise _absent(f"ResourceArn: {arn}")
        return table, place


def policy_kept(policy: str, now_ms: int) -> Mapping[str, str]:
    """A policy as its table keeps it, and as it is told."""
    return {_POLICY: policy, _REVISION: str(now_ms)}


def _checked_arn(body: Body, *required: str) -> str:
    violations = Violations()
    violations.length(body, "ResourceArn", 1, _ARN_CHARACTERS_MAX, required=True)
    violations.length(body, _EXPECTED, 1, _REVISION_CHARACTERS_MAX)
    for field in required:
        if fields.text(body, field) is None:
            violations.add(None, f"{field[0].lower()}{field[1:]}", "Member must not be null")
    violations.check()
    arn = str(body["ResourceArn"])
    if not arn.startswith("arn:"):
        raise wording.invalid_parameter(f"ARNs must start with 'arn:': {arn}")
    return arn


def _absent(what: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Requested resource not found: {what} not found")


def _not_expected(arn: str, table_name: str, expected: str, known: Mapping[str, str] | None) -> str:
    """What is told of a policy that is not of the revision that a request expects."""
    if known is None:
        return arn
    if expected == _NO_POLICY:
        return (
            f"Requested policy update expecting none to be present for table {table_name}, but a policy exists "
            f"with revision id {known[_REVISION]}."
        )
    return (
        f"Requested update for policy with revision id {expected}, but the policy associated to target table "
        f"{table_name} has revision id {known[_REVISION]}."
    )


def _not_found(what: str) -> ServiceError:
    message = f"Resource-based policy not found for the provided ResourceArn: {what}"
    return ServiceError("PolicyNotFoundException", message)
