"""The command line: which figures to take, for how long, and how to print them."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable

from bench import (
    backlog,
    flows,
    growth,
    inventory,
    latency,
    operations,
    outage,
    patterns,
    poison,
    put,
    router,
    routing,
    summaries,
)
from bench.report import Figure, machine, table

FIGURES: dict[str, Callable[[float], Figure]] = {
    "put": put.measure,
    "latency": latency.measure,
    "flows": flows.measure,
    "patterns": patterns.measure,
    "operations": operations.measure,
    "routing": lambda _: routing.measure(),
    "router": lambda _: router.measure(),
    "growth": growth.measure,
    "backlog": backlog.measure,
    "poison": poison.measure,
    "outage": outage.measure,
    "summaries": summaries.measure,
    "inventory": inventory.measure,
}

SECONDS = 5.0
OPERATION_SECONDS = 2.0
ALONE = ("growth", "backlog", "poison", "outage", "summaries", "inventory")


def main(arguments: list[str]) -> int:
    """Take the figures and print them; 1 where a check of a measurement failed."""
    parser = argparse.ArgumentParser(prog="python bench/run.py", description=__doc__)
    parser.add_argument("figure", choices=[*FIGURES, "all"])
    parser.add_argument(
        "--seconds",
        type=float,
        help=f"of each measurement (default {SECONDS}; operations: {OPERATION_SECONDS} for each cell)",
    )
    parser.add_argument("--size", type=int, help="purchases of inventory (default 5000; all are 69659)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    # SIGTERM ends it as Ctrl-C does: the servers that it has started end with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # They have no peer, growth fills gigabytes, and inventory takes minutes.
    names = [name for name in FIGURES if name not in ALONE] if options.figure == "all" else [options.figure]
    if options.figure == "inventory":
        figures = [inventory.measure(size=options.size)]
    else:
        figures = [FIGURES[name](options.seconds or _default_s(name)) for name in names]
    if options.json:
        print(json.dumps({"machine": machine(), "figures": [figure.as_json() for figure in figures]}))
    else:
        print(", ".join(f"{name}: {value}" for name, value in machine().items()))
        for figure in figures:
            print(table(figure))
    return 1 if any(figure.faults for figure in figures) else 0


def _default_s(name: str) -> float:
    return OPERATION_SECONDS if name == "operations" else SECONDS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
