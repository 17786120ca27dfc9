"""DynamoDB's operations on items by PartiQL: one statement, several each for itself, several together."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import orjson

from afterwrite.core.values import Item
from afterwrite.errors import ConditionalCheckFailed, ServiceError, TransactionCanceled
from afterwrite.store import items, tables
from afterwrite.store.environment import ReadTransaction, WriteTransaction
from afterwrite.store.operations.items import transact_get, transact_write
from afterwrite.store.prepared import Body, Prepared, Read, Write
from afterwrite.store.tables import Catalog, Table, table_named
from afterwrite.table import fields, statement_tree, wording
from afterwrite.table.attribute_values import checked_item, checked_value
from afterwrite.table.batches import TOKEN_CHARACTERS_MAX, TRANSACTION_WRITES_MAX, TransactGetPlan, TransactWritePlan
from afterwrite.table.capacity import SILENT, Capacity, Reporting
from afterwrite.table.fields import Violations
from afterwrite.table.index_keys import check_scalar_keys
from afterwrite.table.reads import PAGE_BYTES_MAX, GetPlan, QueryPage, QueryPlan
from afterwrite.table.schema import GLOBAL, IndexSchema
from afterwrite.table.sizes import item_size, read_units
from afterwrite.table.statement_grammar import parse_statement
from afterwrite.table.statement_tree import Select, Statement
from afterwrite.table.statements import Page, get_plan, item_write, query_plans
from afterwrite.table.writes import ItemWrite

_STATEMENT_CHARACTERS_MAX: Final = 8192
_TOKEN_CHARACTERS_MAX: Final = 32_768
_BATCH_MAX: Final = 25
_DIGEST_BYTES: Final = 12
# The errors of statements that have reached their item; they are told with the table.
_OF_ITEMS: Final = ("ConditionalCheckFailedException", "DuplicateItemException")
_DUPLICATE: Final = "Duplicate primary key exists in table"


def by_name() -> Mapping[str, Callable[[Body], Prepared]]:
    """The operations by their names."""
    return {
        "ExecuteStatement": execute,
        "BatchExecuteStatement": execute_batch,
        "ExecuteTransaction": execute_transaction,
    }


def execute(body: Body) -> Prepared:
    """ExecuteStatement. Raises ServiceError."""
    violations = Violations()
    _note_statement(violations, body, "")
    _note_choices(violations, body)
    limit = fields.integer(body, "Limit")
    if limit is not None and limit < 1:
        violations.add(limit, "limit", "Member must have value greater than or equal to 1")
    token = fields.text(body, "NextToken")
    violations.length(body, "NextToken", 1, _TOKEN_CHARACTERS_MAX)
    violations.check()
    statement = _parsed(body)
    detail = fields.capacity_detail(body)
    if isinstance(statement.action, Select):
        pages = _Pages(_digest(body))
        page = Page(pages.start_of(token), limit, fields.flag(body, "ConsistentRead", default=False), detail)
        return Read(partial(_select, statement, statement.action, page, pages))
    if isinstance(statement.action, statement_tree.Exists):
        raise wording.invalid("EXISTS() is only supported in ExecuteTransaction")
    member = _Member(statement, returns_old_on_failure=_returns_old_on_failure(body))
    return Write(lambda transaction: _executed(member, detail, transaction))


def _note_statement(violations: Violations, body: Body, place: str) -> None:
    violations.length(body, "Statement", 1, _STATEMENT_CHARACTERS_MAX, within=place, required=True)
    if body.get("Parameters") == []:
        violations.add("[]", f"{place}parameters", "Member must have length greater than or equal to 1")
    if body.get("ReturnValuesOnConditionCheckFailure") is not None:
        where = f"{place}returnValuesOnConditionCheckFailure"
        allowed = fields.RETURN_VALUES_ON_FAILURE
        violations.choice(body, "ReturnValuesOnConditionCheckFailure", allowed, where)


def _note_choices(violations: Violations, body: Body) -> None:
    if body.get("ReturnConsumedCapacity") is not None:
        violations.choice(body, "ReturnConsumedCapacity", fields.CAPACITY_DETAILS, "returnConsumedCapacity")


def _parsed(body: Body) -> Statement:
    return parse_statement(body["Statement"], fields.structures(body, "Parameters", "AttributeValue") or ())


def _returns_old_on_failure(body: Body) -> bool:
    return body.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"


def _digest(body: Body) -> str:
    asked = orjson.dumps([body["Statement"], body.get("Parameters")], option=orjson.OPT_SORT_KEYS)
    return blake2b(asked, digest_size=_DIGEST_BYTES).hexdigest()


class _Pages:
    """The tokens of one statement's pages: where the next one starts, and whose they are."""

    def __init__(self, digest: str) -> None:
        self._digest = digest

    def start_of(self, token: str | None) -> Item | None:
        """The key that a page's token says to go on behind. Raises ServiceError for a token of another statement."""
        if token is None:
            return None
        try:
            digest, start = orjson.loads(base64.b64decode(token, validate=True))
            start = checked_item(start)
        except (binascii.Error, ValueError, TypeError, ServiceError):
            raise wording.invalid("Invalid NextToken") from None
        if digest != self._digest:
            raise wording.invalid("NextToken does not match request")
        return start

    def token(self, start: Item) -> str:
        """The token of the page behind a key."""
        return base64.b64encode(orjson.dumps([self._digest, start])).decode()


def _select(
    statement: Statement, select: Select, page: Page, pages: _Pages, transaction: ReadTransaction, catalog: Catalog
) -> dict[str, Any]:
    table = table_named(catalog, select.table_name)
    index = _index_of(table, select.index_name)
    if page.consistent and index is not None and index.scope == GLOBAL:
        raise wording.invalid("Strongly consistent read is not supported on Global Secondary Indexes")
    answer: dict[str, Any] = {"Items": []}
    limit, bytes_left, capacity = page.limit, PAGE_BYTES_MAX, None
    for plan in query_plans(statement, select, table.schema, index, page):
        read = _read(replace(plan, limit=limit), table, index, transaction, bytes_left)
        found, bytes_left = orjson.loads(read.answer()), read.bytes_left
        answer["Items"] += found["Items"]
        capacity = _sum(capacity, found.get("ConsumedCapacity"))
        limit = None if limit is None else limit - found["ScannedCount"]
        last = found.get("LastEvaluatedKey")
        if last is not None:
            answer |= {"NextToken": pages.token(last), "LastEvaluatedKey": last}
            break
    if capacity is not None:
        answer["ConsumedCapacity"] = capacity
    return answer


def _sum(one: Any, two: Any) -> Any:
    """Two `ConsumedCapacity` of the same table together."""
    if one is None or two is None or isinstance(one, str):
        return two if one is None else one
    if isinstance(one, dict):
        return {name: _sum(one.get(name), two.get(name)) for name in {**one, **two}}
    return one + two


def _index_of(table: Table, name: str | None) -> IndexSchema | None:
    if name is None:
        return None
    index = table.index_named(name)
    if index is None:
        is_vector = table.vector_index_named(name) is not None
        raise wording.invalid(wording.SCAN_OF_VECTORS if is_vector else "The table does not have the specified index")
    if max(len(index.schema.partition_attributes), len(index.schema.sort_attributes)) > 1:
        raise wording.invalid(
            "PartiQL statements cannot be executed on tables with multi-attribute HASH keys or multi-attribute RANGE "
            "keys."
        )
    if index.filled_to is not None:
        raise wording.invalid(f"Cannot read from backfilling global secondary index: {name}")
    return index.schema


def _read(
    plan: QueryPlan, table: Table, index: IndexSchema | None, transaction: ReadTransaction, bytes_max: int
) -> QueryPage:
    keys = plan.range(table.schema, index)
    if plan.nested:
        check_scalar_keys(table.schema, [each.schema for each in table.indexes], plan.nested)
    page = QueryPage(plan, table.schema, index, bytes_max=bytes_max)
    stored = None if index is None else table.index_named(index.name)
    if stored is None:
        found = items.scan(transaction, table, keys.low, keys.high, reverse=not plan.forward)
    else:
        found = items.scan_index(transaction, stored, keys.low, keys.high, reverse=not plan.forward)
    for size, text in found:
        if not page.add(text, size):
            break
    return page


@dataclass(frozen=True, slots=True)
class _Member:
    """A statement that writes, of several or alone."""

    statement: Statement
    returns_old_on_failure: bool = False

    def write(self, catalog: Catalog, reporting: Reporting = SILENT) -> ItemWrite:
        """What it writes. Raises ServiceError."""
        table = table_named(catalog, self.statement.action.table_name)
        write = item_write(self.statement, table.schema, reporting)
        if not self.returns_old_on_failure or self.inserts:
            return write
        changed: ItemWrite = write._replace(return_old_on_failure=True)  # type: ignore[attr-defined]
        return changed

    @property
    def inserts(self) -> bool:
        """Whether it makes an item."""
        return isinstance(self.statement.action, statement_tree.Insert)


def _written(
    member: _Member, reporting: Reporting, transaction: WriteTransaction
) -> tuple[Table, Item | None, Item | None, Item | None]:
    """Carry out one write: the table, the item before and after, and what the statement returns."""
    write = member.write(tables.catalog(transaction), reporting)
    try:
        table, old, new = items.write(transaction, write)
    except ConditionalCheckFailed:
        if member.inserts:
            raise ServiceError("DuplicateItemException", _DUPLICATE) from None
        raise
    return table, old, new, write.answer(old, new).get("Attributes")


def _executed(member: _Member, detail: str, transaction: WriteTransaction) -> dict[str, Any]:
    table, old, new, returned = _written(member, Reporting(detail), transaction)
    answer: dict[str, Any] = {"Items": [returned] if returned else []}
    if detail != "NONE":
        capacity = Capacity(table.name)
        _add_write(capacity, table, old, new)
        answer["ConsumedCapacity"] = capacity.to_wire(detail)
    return answer


def _add_write(capacity: Capacity, table: Table, old: Item | None, new: Item | None) -> None:
    schemas = [index.schema for index in table.indexes]
    capacity.add_write(table.schema, schemas, old, new, vector_indexes=table.vector_indexes)


def execute_batch(body: Body) -> Prepared:
    """BatchExecuteStatement. Raises ServiceError."""
    members = fields.structures(body, "Statements", "BatchStatementRequest")
    _check_members(body, members, "statements", _BATCH_MAX)
    asked = [_BatchMember(each) for each in members or ()]
    kinds = {each.statement.reads for each in asked if each.statement is not None}
    if len(kinds) > 1:
        raise wording.invalid("The entire batch must consist of either read statements or write statements")
    detail = fields.capacity_detail(body)
    if kinds == {False}:
        return Write(lambda transaction: _batch(asked, detail, transaction, tables.catalog(transaction)))
    return Read(partial(_batch, asked, detail))


def _check_members(body: Body, members: Sequence[Body] | None, place: str, most: int) -> None:
    violations = Violations()
    if members is None:
        violations.add(None, place, "Member must not be null")
    elif not members:
        violations.add("[]", place, "Member must have length greater than or equal to 1")
    elif len(members) > most:
        violations.add(f"[{len(members)} statements]", place, f"Member must have length less than or equal to {most}")
    _note_choices(violations, body)
    for number, member in enumerate(members or (), 1):
        _note_statement(violations, member, f"{place}.{number}.member.")
    violations.check()


class _BatchMember:
    """One statement of a batch; `error` is what is wrong with its text."""

    def __init__(self, body: Body) -> None:
        self.consistent = fields.flag(body, "ConsistentRead", default=False)
        self.statement: Statement | None = None
        self.error: ServiceError | None = None
        try:
            self.statement = _parsed(body)
        except ServiceError as error:
            self.error = error


def _batch(
    members: Sequence[_BatchMember], detail: str, transaction: ReadTransaction, catalog: Catalog
) -> dict[str, Any]:
    capacities: dict[str, Capacity] = {}
    responses: list[dict[str, Any]] = []
    for member in members:
        if member.statement is None:
            responses.append({"Error": _batch_error(member.error)})
            continue
        named = {"TableName": member.statement.action.table_name}
        try:
            found = _batched(member, member.statement, capacities, transaction, catalog)
        except ServiceError as error:
            responses.append({"Error": _batch_error(error), **(named if error.code in _OF_ITEMS else {})})
            continue
        responses.append(named if found is None else {"Item": found, **named})
    answer: dict[str, Any] = {"Responses": responses}
    if detail != "NONE":
        answer["ConsumedCapacity"] = [capacity.to_wire(detail) for capacity in capacities.values()]
    return answer


def _batched(
    member: _BatchMember,
    statement: Statement,
    capacities: dict[str, Capacity],
    transaction: ReadTransaction,
    catalog: Catalog,
) -> Item | None:
    """Carry out one statement of a batch, and answer the item that it finds or returns."""
    table = table_named(catalog, statement.action.table_name)
    capacity = capacities.setdefault(table.name, Capacity(table.name))
    if isinstance(statement.action, Select):
        _index_of(table, statement.action.index_name)
        get = get_plan(statement, statement.action, table.schema, consistent=member.consistent, capacity_detail="NONE")
        if get is None:
            raise _no_key("BatchExecuteStatement")
        text = items.get(transaction, table, get.key_attributes)
        item: Item = {} if text is None else orjson.loads(text)
        capacity.add(read_units(item_size(item), consistent=member.consistent))
        if text is None:
            return None
        return item if get.projection is None else get.projection.of(item)
    if not isinstance(transaction, WriteTransaction) or isinstance(statement.action, statement_tree.Exists):
        raise wording.invalid("EXISTS() is only supported in ExecuteTransaction")
    table, old, new, returned = _written(_Member(statement), SILENT, transaction)
    _add_write(capacity, table, old, new)
    return returned or None


def _no_key(operation: str) -> ServiceError:
    return wording.invalid(f"Select statements within {operation} must specify the primary key in the where clause.")


def _batch_error(error: ServiceError | None) -> dict[str, Any]:
    if error is None:
        return {}
    code = "ValidationError" if error.code == "ValidationException" else error.code.removesuffix("Exception")
    return {"Code": code, "Message": error.message}


def execute_transaction(body: Body) -> Prepared:
    """ExecuteTransaction. Raises ServiceError."""
    members = fields.structures(body, "TransactStatements", "ParameterizedStatement")
    token = fields.text(body, "ClientRequestToken")
    violations = Violations()
    violations.length(body, "ClientRequestToken", 1, TOKEN_CHARACTERS_MAX)
    violations.check()
    _check_members(body, members, "transactStatements", TRANSACTION_WRITES_MAX)
    for member in members or ():
        # What is wrong with a parameter is told without the statement's number.
        for parameter in fields.structures(member, "Parameters", "AttributeValue") or ():
            checked_value(parameter)
    found = [_placed(number, partial(_parsed_together, each)) for number, each in enumerate(members or ())]
    if len({each.reads for each in found}) > 1:
        raise wording.invalid("The entire transaction must consist of either read statements or write statements")
    detail = fields.capacity_detail(body)
    if found[0].reads:
        return Read(partial(_read_together, found, detail))
    asked = [
        _Member(statement, returns_old_on_failure=_returns_old_on_failure(each))
        for statement, each in zip(found, members or (), strict=True)
    ]
    fingerprint = blake2b(orjson.dumps(members, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
    return Write(partial(_write_together, asked, detail, token, fingerprint))


def _parsed_together(body: Body) -> Statement:
    statement = _parsed(body)
    if statement.returns:
        raise wording.invalid("RETURNING clause is not supported in ExecuteTransaction.")
    return statement


def _placed(number: int, run: Callable[[], Any]) -> Any:
    """What `run` makes of a transaction's statement; its error says which statement it is."""
    try:
        return run()
    except ServiceError as error:
        if error.code != "ValidationException":
            raise
        raise wording.invalid(f"Validation failed in TransactStatements[{number}]: {error.message}") from None


def _read_together(found: Sequence[Statement], detail: str, transaction: ReadTransaction, catalog: Catalog) -> bytes:
    gets = [_placed(number, partial(_get, catalog, each, detail)) for number, each in enumerate(found)]
    return transact_get(TransactGetPlan(tuple(gets), detail), transaction, catalog)


def _get(catalog: Catalog, statement: Statement, detail: str) -> GetPlan:
    select = statement.action
    if not isinstance(select, Select):
        raise TypeError("a transaction of reads has a write")
    table = table_named(catalog, select.table_name)
    if select.index_name is not None:
        raise wording.invalid("Reads on indices are not supported within transactions.")
    plan = get_plan(statement, select, table.schema, consistent=True, capacity_detail=detail)
    if plan is None:
        raise _no_key("ExecuteTransaction")
    return plan


def _write_together(
    members: Sequence[_Member], detail: str, token: str | None, fingerprint: bytes, transaction: WriteTransaction
) -> dict[str, Any]:
    catalog, reporting = tables.catalog(transaction), Reporting(detail)
    writes = [_placed(number, partial(member.write, catalog, reporting)) for number, member in enumerate(members)]
    plan = TransactWritePlan(tuple(writes), token, fingerprint, reporting)
    plan.check_size()
    try:
        answer = transact_write(plan, transaction)
    except TransactionCanceled as error:
        reasons = zip(members, error.fields["CancellationReasons"], strict=True)
        raise TransactionCanceled([_reason(member, reason) for member, reason in reasons]) from None
    return {"Responses": [], **answer}


def _reason(member: _Member, reason: Mapping[str, Any]) -> Mapping[str, Any]:
    if member.inserts and reason["Code"] == "ConditionalCheckFailed":
        return {"Code": "DuplicateItem", "Message": _DUPLICATE}
    return reason
