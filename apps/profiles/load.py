"""Replays customers' changes into the table: several processes with several threads; a customer's are one thread's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from demonstration import cdnow
from demonstration.certain_writes import CertainWrites, dynamodb_client
from demonstration.shares import Share
from demonstration.writes import set_attributes
from profiles.people import Edit, customer_id, edits

if TYPE_CHECKING:
    from demonstration.writers import Count

REMOVED_EVERY: Final = 50
RETRY_FOR_S: Final = 60.0


def planned(limit: int | None) -> list[Edit]:
    """The changes that `limit` orders lead to: all those of the first customers, in the order of their days."""
    by_customer = sorted(cdnow.load(), key=lambda each: each.customer_id)[:limit]
    return list(edits(sorted(by_customer, key=lambda each: (each.day, each.number))))


def removed(planned_edits: Iterable[Edit]) -> list[str]:
    """The customers who leave in the end: one of fifty."""
    known = sorted({edit.customer_id for edit in planned_edits})
    return [each for each in known if _number(each) % REMOVED_EVERY == 0]


def write_share(share: Share, written: Count) -> None:
    """Make the changes of the share's customers, and write down how many writes were acknowledged.

    Its customers are those whose number leaves `number` when divided by `of`.
    """
    writes = CertainWrites(dynamodb_client(share.endpoint_url, share.threads), retry_for_s=RETRY_FOR_S)
    by_thread: list[list[Edit]] = [[] for _ in range(share.threads)]
    for edit in planned(share.size):
        number = _number(edit.customer_id)
        if number % share.of == share.number:
            by_thread[number // share.of % share.threads].append(edit)
    with ThreadPoolExecutor(share.threads) as threads:
        done = [threads.submit(_write_all, writes, share.table_name, each, written) for each in by_thread]
        acknowledged = sum(future.result() for future in done)
    share.manifest.write_text(json.dumps({"acknowledged": acknowledged}))


def _write_all(writes: CertainWrites, table_name: str, chosen: list[Edit], written: Count) -> int:
    for edit in chosen:
        set_attributes(writes, table_name, {"customerId": edit.customer_id}, edit.fields)
        with written.get_lock():
            written.value += 1
    return len(chosen)


def remove(writes: CertainWrites, table_name: str, leaving: Iterable[str]) -> None:
    """Take customers out of the table."""
    for each in leaving:
        writes.until_answered(writes.client.delete_item, TableName=table_name, Key={"customerId": {"S": each}})


def acknowledged(manifests: Iterable[Path]) -> int:
    """How many writes were acknowledged in all."""
    return sum(json.loads(path.read_text())["acknowledged"] for path in manifests)


def _number(of: str) -> int:
    return int(of.removeprefix(customer_id("")))
