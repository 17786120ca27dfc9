"""The command line. Each command is a module; this one puts them together and turns errors into messages."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App as CommandLine
from cyclopts import CycloptsError, UnusedCliTokensError

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
# By name: a command's modules are imported where it is run, and the others' are not.
for command, found_in in {
    "run": "running:run",
    "serve": "running:serve",
    "status": "status:status",
    "check": "check:check",
    "tail": "tail:tail",
    "parked": "parked:command_line",
    "query": "query:query",
    "replay": "replay:replay",
    "search": "search:search",
    "audit": "audit:command_line",
    "forget": "forget:forget",
    "pattern": "patterns:command_line",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "export": "transfer:export",
    "import": "transfer:import_",
    "synth": "deploying:synth",
    "package": "deploying:package",
    "graph": "graph:graph",
    "demo": "demo:demo",
}.items():
    command_line.command(f"afterwrite.cli.{found_in}", name=command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line on `arguments`, by default the process's.

    The exit status is the command's; 2 where the command is used wrongly or afterwrite raises, with one line on
    standard error; 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else arguments
    command_line.help_formatter = "default" if sys.stdout.isatty() else PlainHelp()
    if not given or given[0] in command_line.help_flags:
        command_line.resolved_commands()  # the help says what each of them does
    try:
        exit_status = command_line(given)
    except UnusedCliTokensError as error:
        called = " ".join(["afterwrite", *(error.command_chain or ())])
        left_over = " ".join(error.unused_tokens or ())
        print(
            f"afterwrite: expected nothing more for {called}, got {left_over!r}: see {called} --help", file=sys.stderr
        )
        raise SystemExit(2) from None
    except (AfterwriteError, CycloptsError) as error:
        print(f"afterwrite: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except PermissionError as error:
        print(
            f"afterwrite: expected to be allowed to use {error.filename}, got: {error.strerror}; "
            "run this as the user who runs the engine, or let this one use it",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        # Who reads has gone. Python flushes standard output once more at its end: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        if error.filename is None:
            raise  # nothing that a command was given
        print(f"afterwrite: expected to be able to use {error.filename}, got: {error.strerror}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(exit_status)
