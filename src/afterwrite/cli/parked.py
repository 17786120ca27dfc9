"""`afterwrite parked`: what was given up and waits for an operator, listed, shown, redriven and dropped."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import App as CommandLine
from cyclopts import Parameter

from afterwrite import config
from afterwrite.cli import parked_text
from afterwrite.cli.engine_client import EngineClient
from afterwrite.cli.loading import load_app
from afterwrite.cli.parameters import Data, Flag, data_directory, moment_ms
from afterwrite.cli.parked_on_aws import OnAws, parked_work
from afterwrite.cli.rendering import count_text, print_aside, print_json, print_line, printable
from afterwrite.config import Settings
from afterwrite.core.parked import EVERYTHING, ParkedEntry, Portion, Selection
from afterwrite.core.ports import ParkedWork
from afterwrite.core.privacy import PrivatePath, masked
from afterwrite.core.times import iso_milliseconds
from afterwrite.errors import CommandError
from afterwrite.inspection import open_data
from afterwrite.local.parked import EmbeddedParked
from afterwrite.server.administration import LIMIT_MAX, selection_body
from afterwrite.store.data_directory import DataDirectory, DirectoryLock
from afterwrite.store.environment import Environment

# A failure of many lanes must not bury what was done about it.
_WARNINGS_MAX: Final = 10

command_line = CommandLine(name="parked", help="See to what failed for good: list, show, redrive or drop it.")


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which failures are meant."""

    in_: Annotated[str | None, Parameter(name="--in", help="Only what this table, queue or stream holds.")] = None
    by: Annotated[str | None, Parameter(help="Only what this route or function failed on.")] = None
    error: Annotated[str | None, Parameter(help="Only failures with this fingerprint.")] = None
    since: Annotated[str | None, Parameter(help="Only what failed at this time (ISO 8601, UTC) or later.")] = None
    until: Annotated[str | None, Parameter(help="Only what failed before this time.")] = None


_All: TypeAlias = Annotated[Flag, Parameter(name="--all", help="Everything that waits.")]
_Credentials: TypeAlias = Annotated[
    Path | None,
    Parameter(
        help="The file of access keys that the engine was started with, if it was: its first key signs the requests. "
        "Default: AFTERWRITE_CREDENTIALS"
    ),
]
_Function: TypeAlias = Annotated[
    str | None,
    Parameter(help="With --table: the Lambda function that runs the app's routes; it runs the lanes again."),
]
_App: TypeAlias = Annotated[
    Path | None,
    Parameter(help="With --table: the Python file that declares the App, whose private attributes are masked."),
]


@command_line.command(name="list")
def list_(
    lane: str | None = None,
    /,
    *,
    which: Which | None = None,
    data: Data = None,
    on_aws: OnAws | None = None,
    json: Flag = False,
) -> None:
    """List what failed for good and waits for you.

    A change that a route failed on is parked with its lane: the lane's later changes wait behind it. A message that a
    function gave up is a dead letter, and its lane goes on; or, where the function is declared so or the message
    cannot be read, it is parked with its lane. Records that a Lambda function on a stream was not able to handle are
    an entry a batch; their shard goes on. Works beside a running engine and on a stopped one's directory.

    Parameters
    ----------
    lane
        Only this lane, such as `orders/A17`.
    json
        Print one JSON object each, without payload and traceback.
    """
    selection = _selection(lane, which)
    nothing = True
    for entry, _ in _entries(selection, data, on_aws):
        nothing = False
        if json:
            fields = _fields(entry)
            del fields["payload"], fields["traceback"]
            print_json(fields)
        else:
            parked_text.show_line(entry)
    if nothing and not json:
        print_line(_nothing_text(selection, data, on_aws))


@command_line.command
def show(
    lane: str | None = None,
    /,
    *,
    which: Which | None = None,
    data: Data = None,
    on_aws: OnAws | None = None,
    app: _App = None,
    json: Flag = False,
) -> None:
    """Show what failed for good, with error, traceback and payload.

    The payload is a change as a stream's record, private attributes masked, or a message as it was sent; of a message
    that cannot be read, its bytes. With --table, only the app tells which attributes are private.

    Parameters
    ----------
    lane
        Only this lane, such as `orders/A17`.
    json
        Print one JSON object each.
    """
    selection = _selection(lane, which)
    on_aws = on_aws or OnAws()
    if app is not None and on_aws.table is None:
        raise CommandError("expected --table beside --app, got none: a directory knows its private attributes itself")
    private = None if app is None else {table.name: table.private for table in load_app(app).tables}
    nothing = True
    for found, newer in _entries(selection, data, on_aws):
        entry = found if private is None else _masked(found, private.get(found.held_in, ()))
        if nothing and private is None and on_aws.table is not None:
            print_aside(
                "note: nothing is masked here, as only the app tells which attributes are private: give it with --app"
            )
        nothing = False
        if json:
            print_json({**_fields(entry), "newer_delivered": newer()})
        else:
            parked_text.show(entry, newer(), _options(data, on_aws))
    if nothing and not json:
        print_line(_nothing_text(selection, data, on_aws))


@command_line.command
def redrive(
    lane: str | None = None,
    /,
    *,
    which: Which | None = None,
    all_: _All = False,
    dry_run: Flag = False,
    data: Data = None,
    credentials: _Credentials = None,
    on_aws: OnAws | None = None,
    function: _Function = None,
    json: Flag = False,
) -> None:
    """Let what failed run again, in order.

    A parked lane runs from its failed change or message on; what fails again is parked again. A dead letter goes to
    the end of its queue, with all its attempts; you are warned where newer changes of its lane have been delivered
    since. Records of a stream are read there again and handed to their function, batch by batch in their order, behind
    what it has had since; those past the stream's retention are lost, and their entry says so. Asks the running engine;
    on a stopped one's directory, lanes that routes failed on and records of streams run at the next start.

    Parameters
    ----------
    lane
        Only this lane, such as `orders/A17`.
    dry_run
        Only say what would run again.
    json
        Print one JSON object.
    """
    selection = _chosen(lane, which, everything=all_)
    warnings = _preview(selection, data, on_aws, dry_run=dry_run, json=json, verb="would run again")
    if dry_run:
        return
    work = parked_work(on_aws or OnAws(), function)
    if work is not None and function is None:
        raise CommandError("expected --function beside --table: the Lambda function that runs the app's routes")
    where = work or config.load(data=data, credentials=credentials)
    count = _in_portions(where, "RedriveParked", selection, lambda parked: parked.redrive, {})
    if json:
        print_json({"redriven": count, "behind_newer": warnings})
    elif not count:
        print_line(_nothing_text(selection, data, on_aws))
    else:
        then = (
            "all of it runs when the engine next starts" if _is_stopped(where) else "what fails again is parked again"
        )
        print_line(f"redriven: {count_text(count, 'failure')}; {then}")


@command_line.command
def drop(
    lane: str | None = None,
    /,
    *,
    which: Which | None = None,
    all_: _All = False,
    whole_lane: Flag = False,
    dry_run: Flag = False,
    data: Data = None,
    credentials: _Credentials = None,
    on_aws: OnAws | None = None,
    function: _Function = None,
    json: Flag = False,
) -> None:
    """Delete what failed, for good.

    What waits behind it in its lane runs then, in order. Asks the running engine, or works on a stopped one's
    directory.

    Parameters
    ----------
    lane
        Only this lane, such as `orders/A17`.
    whole_lane
        Delete what waits behind it in its lane, too.
    dry_run
        Only say what would be deleted.
    json
        Print one JSON object.
    """
    selection = _chosen(lane, which, everything=all_)
    if dry_run:
        _preview(selection, data, on_aws, dry_run=True, json=json, verb="would be deleted", warns=False)
        return
    options = {"whole_lane": whole_lane}
    where = parked_work(on_aws or OnAws(), function) or config.load(data=data, credentials=credentials)
    count = _in_portions(where, "DropParked", selection, lambda parked: parked.drop, options)
    if json:
        print_json({"dropped": count})
    elif not count:
        print_line(_nothing_text(selection, data, on_aws))
    else:
        print_line(f"dropped: {count_text(count, 'failure')}")


def _is_stopped(where: Settings | ParkedWork) -> bool:
    return isinstance(where, Settings) and DataDirectory(where.data).holder() is None


def _options(data: Path | None, on_aws: OnAws) -> str:
    """What the next command needs to find the same: where it looks."""
    if on_aws.table is None:
        return "" if data is None else f" --data {shlex.quote(str(data))}"
    endpoint = "" if on_aws.endpoint_url is None else f" --endpoint-url {shlex.quote(on_aws.endpoint_url)}"
    return f" --table {shlex.quote(on_aws.table)}{endpoint} --function FUNCTION"


def _selection(lane: str | None, which: Which | None) -> Selection:
    given = which or Which()
    return Selection(
        lane=lane,
        held_in=given.in_,
        raised_by=given.by,
        fingerprint=given.error,
        since_ms=None if given.since is None else moment_ms("--since", given.since),
        until_ms=None if given.until is None else moment_ms("--until", given.until),
    )


def _chosen(lane: str | None, which: Which | None, *, everything: bool) -> Selection:
    """What is meant; everything only where that is said."""
    selection = _selection(lane, which)
    if selection.is_everything != everything:
        raise CommandError(
            "expected what is meant: a lane, --in, --by, --error, --since or --until, or else --all, "
            + ("got none of them" if selection.is_everything else "got both")
        )
    return selection


def _entries(
    selection: Selection, data: Path | None, on_aws: OnAws | None
) -> Iterator[tuple[ParkedEntry, Callable[[], int]]]:
    """The entries that are meant, and what counts the newer changes that were delivered since."""
    work = parked_work(on_aws or OnAws())
    if work is not None:
        for entry in work.entries(selection):
            yield entry, lambda: 0  # what is parked with its lane is not overtaken
        return
    with open_data(data_directory(data)) as reader:
        # Of all at once, and only if anybody asks: it is a pass over the change log.
        counts = cache(lambda: reader.newer_delivered(selection))
        for entry in reader.parked_entries(selection):
            newer = partial(lambda place: counts().get(place, 0), entry.place)
            yield _masked(entry, reader.private(entry.held_in)), newer


def _nothing_text(selection: Selection, data: Path | None, on_aws: OnAws | None) -> str:
    """What is said where nothing is meant: a misspelt name must not read as if all were well."""
    lanes = [] if selection.is_everything else [entry.lane for entry, _ in _entries(EVERYTHING, data, on_aws)]
    if not lanes:
        return "nothing is parked"
    # A key without its table's name is the likeliest slip.
    meant = next((lane for lane in lanes if lane.endswith(f"/{selection.lane}")), lanes[0])
    return f"nothing of that is parked, but {printable(meant)} is: afterwrite parked list shows everything"


def _preview(
    selection: Selection,
    data: Path | None,
    on_aws: OnAws | None,
    *,
    dry_run: bool,
    json: bool,
    verb: str,
    warns: bool = True,
) -> int:
    """Say what is meant, if it is only to be said, and warn of what would come after newer; how many those are."""
    entries = behind_newer = 0
    places: set[str] = set()
    for entry, count_newer in _entries(selection, data, on_aws):
        entries += 1
        places.add(entry.held_in)
        newer = count_newer() if warns else 0
        behind_newer += newer > 0
        if not json:
            if dry_run:
                parked_text.show_line(entry)
            if newer and (dry_run or behind_newer <= _WARNINGS_MAX):
                print_line(("warning: ", "bold yellow"), parked_text.newer_text(entry, newer))
    if behind_newer > _WARNINGS_MAX and not (dry_run or json):
        more = count_text(behind_newer - _WARNINGS_MAX, "more failure")
        print_line(("warning: ", "bold yellow"), f"so it is with {more}: --dry-run names each")
    if warns and not json:
        for name in sorted(places & _unheeded(data, on_aws)):
            print_line(
                ("warning: ", "bold yellow"),
                f"the app runs nothing on {name} any more: what is meant there waits until it does",
            )
    if dry_run and json:
        print_json({"entries": entries, **({"behind_newer": behind_newer} if warns else {})})
    elif dry_run:
        print_line(f"{count_text(entries, 'failure')} {verb}")
    return behind_newer


def _unheeded(data: Path | None, on_aws: OnAws | None) -> set[str]:
    """The tables and queues with something that nobody runs, as the app does not declare them any more."""
    if on_aws is not None and on_aws.table is not None:
        return set()
    with open_data(data_directory(data)) as reader:
        status = reader.status()
    return {each.table for each in status.left_parked} | {each.name for each in status.queues if not each.declared}


def _in_portions(
    where: Settings | ParkedWork,
    operation: str,
    selection: Selection,
    method: Callable[[ParkedWork], Callable[..., Portion]],
    options: Mapping[str, Any],
) -> int:
    """Ask the running engine, or work on the stopped one's store or the table, until everything meant is done."""
    with ExitStack() as closing:
        portion: Callable[..., Portion]
        if not isinstance(where, Settings):
            portion = partial(method(where), selection, limit=LIMIT_MAX, **options)
        elif not _is_stopped(where):
            client = EngineClient(where, target="Afterwrite", service="dynamodb")
            body = {"Selection": selection_body(selection), "Limit": LIMIT_MAX}
            if options.get("whole_lane"):
                body["WholeLane"] = True

            def asked(*, after: str) -> Portion:
                answer = client.call(operation, {**body, "After": after})
                return Portion(answer["Count"], answer["Next"])

            portion = asked
        else:
            with open_data(where.data):
                pass  # refuses what is no data directory, before anything is made there
            directory = DataDirectory(where.data)
            lock = DirectoryLock(directory)
            closing.callback(lock.release)
            environment = Environment(directory.store)
            closing.callback(environment.close)
            portion = partial(method(EmbeddedParked(environment)), selection, limit=LIMIT_MAX, **options)

        done = portion(after="")
        count = done.entries
        while done.next is not None:
            done = portion(after=done.next)
            count += done.entries
        return count


def _masked(entry: ParkedEntry, private: Sequence[PrivatePath]) -> ParkedEntry:
    """The entry with its change's private attributes masked."""
    if entry.kind != "change" or not private:
        return entry
    images = entry.payload["dynamodb"]
    shown = {name: masked(images[name], private) for name in ("NewImage", "OldImage") if name in images}
    return replace(entry, payload={**entry.payload, "dynamodb": {**images, **shown}})


def _fields(entry: ParkedEntry) -> dict[str, Any]:
    failure = entry.failure
    return {
        "kind": entry.kind,
        "in": entry.held_in,
        "lane": entry.lane,
        "id": entry.id,
        "by": None if failure is None else failure.raised_by,
        "error": None if failure is None else failure.fingerprint,
        "reason": None if failure is None else failure.reason,
        "error_kind": None if failure is None else failure.kind,
        "condition": entry.condition,
        "what_to_do": None if failure is None else failure.directive.remedy,
        "attempts": entry.attempts,
        "created_at": None if entry.created_at_ms is None else iso_milliseconds(entry.created_at_ms),
        "parked_at": iso_milliseconds(entry.parked_at_ms),
        "behind": entry.behind,
        "traceback": None if failure is None else failure.traceback,
        "payload": entry.payload,
    }
