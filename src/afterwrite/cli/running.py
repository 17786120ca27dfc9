"""`afterwrite run` and `afterwrite serve`: the embedded engine, with an app or without one."""

from __future__ import annotations

import gc
import logging
import os
import resource
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import orjson
from cyclopts import Parameter

from afterwrite import config
from afterwrite.app import App
from afterwrite.cli.loading import load_app
from afterwrite.cli.one_core import PERIOD_S, OneCore
from afterwrite.cli.parameters import Flag
from afterwrite.cli.rendering import printable
from afterwrite.cli.standard_streams import own_output
from afterwrite.cli.stop_signals import StopSignals
from afterwrite.config import Durability, Settings
from afterwrite.wiring import Engine
from afterwrite.wiring.app_processes import AppProcesses
from afterwrite.wiring.works import Part

Cores: TypeAlias = Literal["auto", "one", "all"]
Processes: TypeAlias = Literal["auto", "one", "two", "three"]

if TYPE_CHECKING:
    from afterwrite.testing.installing import Injector

_Data: TypeAlias = Annotated[
    Path | None, Parameter(help="The data directory, made where it is missing. Default: AFTERWRITE_DATA, else ./data")
]
_Listen: TypeAlias = Annotated[
    str | None,
    Parameter(help="HOST:PORT to listen on, port 0 for a free one. Default: AFTERWRITE_LISTEN, else 127.0.0.1:4566"),
]
_Credentials: TypeAlias = Annotated[
    Path | None,
    Parameter(
        help="A file with the access keys that may sign requests: a JSON object "
        '{"ACCESS KEY ID": "SECRET ACCESS KEY"}, or profiles as in ~/.aws/credentials. Without it signatures are not '
        "checked, and the engine listens on loopback addresses only. Default: AFTERWRITE_CREDENTIALS"
    ),
]
_Durability: TypeAlias = Annotated[
    Durability,
    Parameter(
        help="fsync: a write is answered once it is on disk. relaxed: before, and it is on disk within a second; a "
        "killed process loses nothing, a power cut may lose that second's writes."
    ),
]
_Cores: TypeAlias = Annotated[
    Cores,
    Parameter(
        help="one: the engine's threads share the idlest core, as Python runs one of them at a time anyway. all: the "
        "system places them, for functions that compute outside of Python on several cores. auto: one where the app "
        "has routes, so that several threads are busy."
    ),
]
_Json: TypeAlias = Annotated[Flag, Parameter(help="Print one JSON line when ready, and log as JSON lines.")]

_RELAXED_WARNING = (
    "durability is relaxed: writes are answered before they are on disk, where they are within a second; a power cut "
    "may lose that second's writes"
)

# Requests and changes are trees without cycles: looking for cycles among them every 700 allocations is a fifth of the
# time that a change takes.
_GC_ALLOCATIONS = 50_000

# Systems allow a thousand unless they are asked for more.
_DESCRIPTORS = 65_536


def run(
    app: Path,
    /,
    *,
    data: _Data = None,
    listen: _Listen = None,
    credentials: _Credentials = None,
    durability: _Durability = "fsync",
    cores: _Cores = "auto",
    processes: Processes = "auto",
    audit_key: Path | None = None,
    audit_anchor: str | None = None,
    faults: Path | None = None,
    json: _Json = False,
) -> None:
    """Run an app on the embedded engine until SIGINT or SIGTERM.

    The engine is a durable database that speaks the DynamoDB protocol: point any AWS SDK at its address
    (`endpoint_url="http://127.0.0.1:4566"`, any credentials) and write. What the app declares happens after each
    write. Everything is kept in the data directory; a killed engine goes on where it was.

    Parameters
    ----------
    app
        The Python file that declares the App.
    processes
        three: one answers requests and writes, one runs routes and functions, one writes files. two: one answers
        requests and writes, the other does the rest. one: all of it in one, where effects come sooner. auto: three on
        Linux where the app writes files (delivery streams, audit logs) and there are two cores, else one.
    audit_key
        A file with the Ed25519 private key (PEM) that signs the audit logs' digests. Default: AFTERWRITE_AUDIT_KEY,
        else one that is made in the data directory
    audit_anchor
        Where digests are kept beside the log: a file, best on another machine's disk, or s3://BUCKET/PREFIX, best with
        Object Lock. Default: AFTERWRITE_AUDIT_ANCHOR, else nowhere
    faults
        A file of faults that are to happen, which afterwrite.testing writes for tests.
    """
    settings = config.load(
        data=data,
        listen=listen,
        credentials=credentials,
        durability=durability,
        audit_key=audit_key,
        audit_anchor=audit_anchor,
    )
    declared = load_app(app)
    if cores == "auto" and _has_routes(declared):
        cores = "one"
    with own_output() if json else nullcontext(sys.stdout) as output:
        injector = None if faults is None else _injector(faults, declared)
        one_core = _prepared(cores, json=json)
        others = _app_processes(declared, settings, processes, one_core, injector)
        engine = Engine(declared, settings, seams=None if injector is None else injector.seams(), processes=others)
        ready = _ready_json if json else partial(_ready_text, _summary(declared))
        announce = partial(print, file=output, flush=True)
        _run(engine, one_core, lambda address: announce(ready(address, settings)), injector)


def _has_routes(app: App) -> bool:
    return any(table.routes or table.pipes for table in app.tables)


def _app_processes(
    app: App, settings: Settings, processes: Processes, one_core: OneCore | None, injector: Injector | None
) -> AppProcesses | None:
    """The processes that run the app, where they are asked for or get more done. One with threads cannot be forked."""
    writes_files = bool(app.delivery_streams or app.audit_logs)
    gets_more_done = (
        sys.platform == "linux"
        and writes_files
        and injector is None
        and len(os.sched_getaffinity(0)) > 1
        and threading.active_count() == 1
    )
    if processes == "one" or (processes == "auto" and not gets_more_done):
        return None
    first = os.getpid()

    def settle() -> None:
        if one_core is not None:
            one_core.keep_apart_from(first)
            one_core.settle()

    if processes == "two":
        others = AppProcesses(app, settings, {frozenset(Part): settle})
    else:
        # The files first: where they cannot be opened, no function has run. The system places who writes them.
        others = AppProcesses(app, settings, {frozenset([Part.FILES]): lambda: None, frozenset([Part.FLOWS]): settle})
    if one_core is not None:
        one_core.keep_apart_from(others.pid_of(Part.FLOWS))
    return others


def serve(
    *,
    data: _Data = None,
    listen: _Listen = None,
    credentials: _Credentials = None,
    durability: _Durability = "fsync",
    cores: _Cores = "auto",
    json: _Json = False,
) -> None:
    """Serve tables without an app until SIGINT or SIGTERM.

    The same durable engine as `afterwrite run`, with no routes: tables are made with CreateTable. On the data
    directory of an app, the app's changes are kept until it runs again.
    """
    settings = config.load(data=data, listen=listen, credentials=credentials, durability=durability)
    one_core = _prepared(cores, json=json)
    ready = _ready_json if json else partial(_ready_text, "no app: tables are served, nothing follows from writes")
    _run(Engine(None, settings), one_core, lambda address: print(ready(address, settings), flush=True))


def _summary(app: App) -> str:
    """What an app does, on one line: routes, pipes and Lambda functions by table or stream, and its functions."""
    follows: list[str] = []
    for table in app.tables:
        follows += _named("routes", [route.name for route in table.routes], f" on {table.name}")
        follows += _named("pipes", [pipe.name for pipe in table.pipes], f" on {table.name}")
    for stream in (*app.tables, *app.kinesis_streams):
        mapped = [mapping.function_name for mapping in stream.event_source_mappings]
        follows += _named("Lambda functions", mapped, f" on {stream.name}")
    functions = _named("functions", [function.name for function in app.functions], "")
    return f"app {app.name}: {'; '.join([*(follows or ['nothing follows from writes']), *functions])}"


def _named(kind: str, names: Sequence[str], where: str) -> list[str]:
    return [f"{kind} {', '.join(names)}{where}"] if names else []


def _injector(rules: Path, app: App) -> Injector:
    """The faults of a rules file, which are logged beside it."""
    from afterwrite.testing.installing import read_rules

    return read_rules(rules, app)


def _prepared(cores: Cores, *, json: bool) -> OneCore | None:
    """Make the process one that runs an engine; who places its threads, where the system does not."""
    _log_to_stderr(as_json=json)
    _allow_descriptors()
    gc.freeze()
    gc.set_threshold(_GC_ALLOCATIONS, 50, 100)
    return OneCore() if cores == "one" else None


def _allow_descriptors() -> None:
    """Let the process have as many descriptors as it may: each connection takes one, and the store needs some."""
    allowed, allowed_at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if allowed_at_most == resource.RLIM_INFINITY else min(_DESCRIPTORS, allowed_at_most)
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, allowed_at_most))


def _run(
    engine: Engine, one_core: OneCore | None, announce: Callable[[str], None], injector: Injector | None = None
) -> None:
    """Run the engine until it is told to stop; `announce` is told the address once it listens."""
    with StopSignals() as stop:
        if one_core is not None:
            one_core.settle()
        engine.start()
        if one_core is not None:
            one_core.settle()
        if injector is not None:
            injector.armed = True
        announce(f"{engine.address[0]}:{engine.address[1]}")
        while not stop.wait(None if one_core is None else PERIOD_S):
            if one_core is not None:
                one_core.settle()
        engine.stop()


def _ready_json(address: str, settings: Settings) -> str:
    ready = {
        "listening": address,
        "data": str(settings.data),
        "durability": settings.durability,
        "signatures_checked": settings.credentials is not None,
    }
    return orjson.dumps(ready).decode()


def _ready_text(does: str, address: str, settings: Settings) -> str:
    lines = [does, f"listening on http://{address}, data in {settings.data} (stop with Ctrl-C)"]
    if settings.credentials is not None:
        lines.append(f"requests must be signed by one of {len(settings.credentials)} access keys")
    if settings.durability == "relaxed":
        lines.append(_RELAXED_WARNING)
    return "\n".join(lines)


class _FieldsFormatter(logging.Formatter):
    def __init__(self, *, as_json: bool) -> None:
        super().__init__("%(asctime)s")
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        event = getattr(record, "event", None) or record.getMessage()
        if self._as_json:
            line = {"at": self.formatTime(record), "level": record.levelname, "event": event, **fields}
            if record.exc_info:
                line["traceback"] = self.formatException(record.exc_info)
            return orjson.dumps(line, default=str).decode()
        text = " ".join(f"{name}={value}" for name, value in fields.items())
        lines = [f"{self.formatTime(record)} {record.levelname} {event} {text}".rstrip()]
        if record.exc_info:
            lines += [f"  {line}" for line in self.formatException(record.exc_info).split("\n")]
        # Reasons may quote what clients wrote: it steers no terminal, and begins no line that reads like another's.
        return "\n".join(map(printable, lines))


def _log_to_stderr(*, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FieldsFormatter(as_json=as_json))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
