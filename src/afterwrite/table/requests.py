"""Request bodies -> plans: everything that is known of a request before the store is asked.

A body is the request's JSON as a dict; parsing changes its attribute values in place, into canonical form. All
functions raise ServiceError (SerializationException or ValidationException) as DynamoDB does.
"""

from __future__ import annotations

from afterwrite.table.batches import (
    BatchWritePlan,
    TransactWritePlan,
    cancellation_reason,
    parse_batch_write_item,
    parse_transact_write_items,
)
from afterwrite.table.reads import GetPlan, QueryPage, QueryPlan, parse_get_item, parse_query, parse_scan
from afterwrite.table.table_requests import (
    CreateTablePlan,
    TimeToLivePlan,
    parse_create_table,
    parse_update_time_to_live,
)
from afterwrite.table.writes import (
    ConditionCheck,
    Delete,
    ItemWrite,
    Put,
    Update,
    parse_delete_item,
    parse_put_item,
    parse_update_item,
)

__all__ = [
    "BatchWritePlan",
    "ConditionCheck",
    "CreateTablePlan",
    "Delete",
    "GetPlan",
    "ItemWrite",
    "Put",
    "QueryPage",
    "QueryPlan",
    "TimeToLivePlan",
    "TransactWritePlan",
    "Update",
    "cancellation_reason",
    "parse_batch_write_item",
    "parse_create_table",
    "parse_delete_item",
    "parse_get_item",
    "parse_put_item",
    "parse_query",
    "parse_scan",
    "parse_transact_write_items",
    "parse_update_item",
    "parse_update_time_to_live",
]
