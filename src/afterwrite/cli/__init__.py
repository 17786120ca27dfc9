"""The command line. Each command is a module; this one puts them together and turns errors into messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App as CommandLine
from cyclopts import CycloptsError

from afterwrite.cli import (
    audit,
    backup,
    check,
    demo,
    deploying,
    forget,
    graph,
    parked,
    patterns,
    query,
    replay,
    running,
    search,
    status,
    tail,
    transfer,
)
from afterwrite.cli.help_text import PlainHelp
from afterwrite.errors import AfterwriteError

command_line = CommandLine(
    name="afterwrite",
    help="Say what should happen after each write to a DynamoDB table, and it happens: in order per key, once.",
    help_format="markdown",
    version_flags=["--version"],
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
command_line.command(running.run)
command_line.command(running.serve)
command_line.command(status.status)
command_line.command(check.check)
command_line.command(tail.tail)
command_line.command(parked.command_line)
command_line.command(query.query)
command_line.command(replay.replay)
command_line.command(search.search)
command_line.command(audit.command_line)
command_line.command(forget.forget)
command_line.command(patterns.command_line)
command_line.command(backup.backup)
command_line.command(backup.restore)
command_line.command(transfer.export)
command_line.command(transfer.import_, name="import")
command_line.command(deploying.synth)
command_line.command(deploying.package)
command_line.command(graph.graph)
command_line.command(demo.demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments`, by default the process's.

    The exit status is the command's; 2 where the command is used wrongly or afterwrite raises, with one line on
    standard error; 130 after Ctrl-C.
    """
    command_line.help_formatter = "default" if sys.stdout.isatty() else PlainHelp()
    try:
        exit_status = command_line(sys.argv[1:] if arguments is None else arguments)
    except (AfterwriteError, CycloptsError) as error:
        print(f"afterwrite: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Who reads has gone. Python flushes standard output once more at its end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    raise SystemExit(exit_status)
