"""`afterwrite audit`: what can be done with audit logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cyclopts import App as CommandLine
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from afterwrite import config
from afterwrite.cli.audit_history import history, logs_meant
from afterwrite.cli.parameters import Data, Flag, data_directory
from afterwrite.cli.rendering import count_text, print_json, print_line, printable
from afterwrite.core.ports import AnchorStore
from afterwrite.inspection import DataReader, open_data
from afterwrite.local.audit.faults import AuditFault
from afterwrite.local.audit.segments import EMPTY_HEAD
from afterwrite.wiring import anchor_store

command_line = CommandLine(name="audit", help="Look after audit logs.")

_QUIET_S: Final = 0.5
_LABEL_WIDTH: Final = 10


@command_line.command
def verify(
    log: str | None = None,
    /,
    *,
    anchor: str | None = None,
    key: Path | None = None,
    data: Data = None,
    json: Flag = False,
) -> int:
    """Verify that an audit log is whole and unchanged.

    Reads every entry, checks its hash and that it follows from the entry before, checks the seal of each finished
    segment, the signed digests, what they say of the log, and that the log ends where the store says it does. Safe
    beside a running engine. Exits with 1 if there is a fault. Give the anchor store: whoever can change everything in
    the data directory can make all of it again, but for what was anchored elsewhere.

    Parameters
    ----------
    log
        The audit log's name. Default: every log of the app.
    anchor
        Where the engine anchors digests: a file, or s3://BUCKET/PREFIX. Default: AFTERWRITE_AUDIT_ANCHOR
    key
        A file with the key that has to have signed the digests, in PEM. Default: those the data directory keeps.
    json
        Print one JSON object.
    """
    with open_data(data_directory(data)) as reader:
        place = config.load(audit_anchor=anchor).audit_anchor
        store = None if place is None else anchor_store(place)
        reports = [_verify(reader, name, place, store, key) for name in logs_meant(reader, log)]
    ok = not any(report["faults"] for report in reports)
    if json:
        print_json({"ok": ok, "logs": reports})
    elif not reports:
        print_line("the app has no audit log")
    for report in reports if not json else []:
        _show(report)
    return 0 if ok else 1


command_line.command(history)


def _verify(
    reader: DataReader, log: str, place: str | None, store: AnchorStore | None, key: Path | None
) -> dict[str, Any]:
    anchored = None if store is None else store.latest(log)
    with _VerifyProgress(log) as progress:
        report = reader.verify_audit(log, progress, key=key, anchored=anchored)
    head = report.head or EMPTY_HEAD
    faults = list(report.faults)
    if place is not None and anchored is None and report.digests:
        message = f"expected the last of {count_text(report.digests, 'digest')} there, found none of {log}: "
        faults.append(AuditFault("missing_anchor", place, 0, message + "give the place where the engine anchors them"))
    return {
        "log": log,
        "ok": not faults,
        **{name: value for name, value in asdict(report).items() if name not in ("faults", "head")},
        "anchored": anchored is not None,
        "head": head.number,
        "head_hash": head.hash,
        "faults": [asdict(fault) for fault in faults],
    }


def _show(report: Mapping[str, Any]) -> None:
    faults = report["faults"]
    verdict = ("verified", "green") if not faults else (count_text(len(faults), "fault"), "bold red")
    print_line((report["log"], "bold"), ": ", verdict)
    _show_line("entries", f"{report['entries']}, the last is number {report['head']}" if report["head"] else "none yet")
    if report["dropped"]:
        _show_line("dropped", f"{report['dropped']} older ones, by retention")
    _show_line("segments", f"{report['segments']}, {report['sealed']} of them sealed")
    anchored = ", the last is anchored elsewhere" if report["anchored"] else ", none of them is known to be anchored"
    signed = f"up to entry {report['signed']} by {count_text(report['digests'], 'digest')}{anchored}"
    _show_line("signed", signed if report["digests"] else "no digest yet: there is one after an hour, or a stop")
    _show_line("first", report["first_at"] or "-")
    _show_line("last", report["last_at"] or "-")
    _show_line("head hash", report["head_hash"])
    for fault in faults:
        line = f":{fault['line']}" if fault["line"] else ""
        print_line("  ", (fault["kind"], "red"), f" {fault['file']}{line}: {printable(fault['message'])}")


def _show_line(label: str, text: str) -> None:
    print_line(f"  {label:<{_LABEL_WIDTH}} {text}")


class _VerifyProgress:
    """A progress bar on standard error, if that is a terminal and it takes long enough to wonder."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._began = time.monotonic()
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> _VerifyProgress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            if not sys.stderr.isatty() or time.monotonic() - self._began < _QUIET_S:
                return
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(f"verifying {self._log}", total=total)
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
