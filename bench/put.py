"""PutItem over the wire, 16 connections: how many writes a second are acknowledged.

Afterwards every item that was acknowledged is counted through the API: an answer that stored nothing is a fault.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from bench import engine, peers
from bench.chat import PARTITIONS, partition, put_requests
from bench.load import Load, in_own_process, send
from bench.processes import Unavailable
from bench.report import Figure
from bench.wire import Connection, System, create_table

ROUNDS = 3
CONNECTIONS = 16
WARM_UP_S = 4.0
TABLE = "bench"


def measure(seconds: float) -> Figure:
    """Alternating rounds over every system that can be had here."""
    figure = Figure(f"PutItem/s, {CONNECTIONS} connections, items of ~600 bytes")
    with contextlib.ExitStack() as stack:
        systems: list[System] = []
        starts: dict[str, Callable[[], System]] = {
            engine.NAME: lambda: stack.enter_context(engine.afterwrite(engine.APPS / "put.py")).system,
            "ministack": lambda: _with_table(stack.enter_context(peers.ministack())),
            "DynamoDB Local": lambda: _with_table(stack.enter_context(peers.dynamodb_local())),
        }
        for name, start in starts.items():
            try:
                systems.append(start())
            except Unavailable as reason:
                figure.leave_out(name, str(reason))
        for system in systems:
            in_own_process(put, system, "warm", WARM_UP_S)
        for number in range(ROUNDS):
            for system in systems:
                run = f"round{number}"
                load = in_own_process(put, system, run, seconds)
                figure.add(system.name, {"writes/s": load.per_second})
                _check(figure, system, run, load)
    return figure


def put(system: System, run: str, seconds: float) -> Load:
    """Write for `seconds`."""
    requests = put_requests(system, TABLE, run)
    return send(system, (requests for _ in range(CONNECTIONS)), connections=CONNECTIONS, seconds=seconds)


def _with_table(system: System) -> System:
    create_table(system, TABLE)
    return system


def _check(figure: Figure, system: System, run: str, load: Load) -> None:
    for fault in load.faults():
        figure.fault(f"{system.name}: {fault}")
    with Connection(system) as connection:
        stored = sum(connection.count(TABLE, partition(run, number)) for number in range(PARTITIONS))
    if stored != load.acknowledged:
        figure.fault(f"{system.name}: {load.acknowledged} writes were acknowledged, {stored} items are stored")
