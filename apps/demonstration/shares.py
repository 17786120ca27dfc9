"""A load's shares: each writing process has its own part of what is to be written, and its own threads for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from demonstration.writers import Count

Order = TypeVar("Order")


@dataclass(frozen=True, slots=True)
class Share:
    """One process's part: of the first `size` orders those whose index leaves `number` when divided by `of`.

    What the process has had acknowledged it writes down in `manifest`.
    """

    number: int
    of: int
    endpoint_url: str
    table_name: str
    size: int
    threads: int
    manifest: Path


def write_share(
    share: Share, orders: Sequence[Order], write: Callable[[Order], Iterable[DataclassInstance]], written: Count
) -> None:
    """Give the share's orders to `write`, each thread its own in their order, and write down what it returns.

    Raises the first error of a thread.
    """
    chosen = orders[share.number :: share.of]

    def write_all(thread: int) -> list[DataclassInstance]:
        done: list[DataclassInstance] = []
        for order in chosen[thread :: share.threads]:
            done.extend(write(order))
            with written.get_lock():
                written.value += 1
        return done

    with share.manifest.open("w", encoding="utf-8") as manifest, ThreadPoolExecutor(share.threads) as threads:
        futures: list[Future[list[DataclassInstance]]] = [threads.submit(write_all, n) for n in range(share.threads)]
        failed = [f for f in wait(futures, return_when=FIRST_EXCEPTION).done if f.exception() is not None]
        if failed:
            threads.shutdown(cancel_futures=True)
        for future in failed or futures:
            manifest.writelines(json.dumps(asdict(each)) + "\n" for each in future.result())


def read(manifests: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """What was written down, as the fields of each."""
    for path in manifests:
        with path.open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)
