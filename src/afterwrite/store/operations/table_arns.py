"""Tables that a request names by their ARNs are named so where the answer says what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from afterwrite.store.prepared import Body, Prepared, Read
from afterwrite.table.fields import checked_table_name


def named_as_given(operation: str, body: Body, prepared: Prepared) -> Prepared:
    """`prepared` with an answer that names the tables as `body` does, which is a valid one of `operation`."""
    given = _GIVEN.get(operation)
    if given is None or body.get("ReturnConsumedCapacity") not in ("TOTAL", "INDEXES"):
        return prepared
    arns = {checked_table_name(name): name for name in given(body) if name.startswith("arn:")}
    if not arns:
        return prepared
    if isinstance(prepared, Read):
        return replace(prepared, run=partial(_run_read, prepared, arns))
    return replace(prepared, run=partial(_run_write, prepared.run, arns))


def _run_read(read: Read, arns: Mapping[str, str], *view: Any) -> Mapping[str, Any]:
    return _renamed(read.body(*view), arns)


def _run_write(run: Callable[[Any], Mapping[str, Any] | None], arns: Mapping[str, str], transaction: Any) -> Any:
    answer = run(transaction)
    return None if answer is None else _renamed(answer, arns)


def _renamed(answer: Mapping[str, Any], arns: Mapping[str, str]) -> Mapping[str, Any]:
    consumed = answer.get("ConsumedCapacity")
    for each in consumed if isinstance(consumed, list) else [consumed or {}]:
        if "TableName" in each:
            each["TableName"] = arns.get(each["TableName"], each["TableName"])
    return answer


def _of_one(body: Body) -> Iterator[Any]:
    yield body["TableName"]


def _of_batch(body: Body) -> Iterator[Any]:
    yield from body["RequestItems"]


def _of_transaction(kinds: Sequence[str], body: Body) -> Iterator[Any]:
    for each in body["TransactItems"]:
        yield from (each[kind]["TableName"] for kind in kinds if each.get(kind) is not None)


_GIVEN: Final[Mapping[str, Callable[[Body], Iterator[Any]]]] = {
    "PutItem": _of_one,
    "GetItem": _of_one,
    "UpdateItem": _of_one,
    "DeleteItem": _of_one,
    "Query": _of_one,
    "Scan": _of_one,
    "SearchVectors": _of_one,
    "BatchGetItem": _of_batch,
    "BatchWriteItem": _of_batch,
    "TransactGetItems": partial(_of_transaction, ("Get",)),
    "TransactWriteItems": partial(_of_transaction, ("ConditionCheck", "Put", "Delete", "Update")),
}
