"""The command line. Each command is a module; this one puts them together and turns errors into messages."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Sequence
from typing import Final

from cyclopts import App as CommandLine
from cyclopts import CycloptsError, UnusedCliTokensError

from afterwrite.cli.help_text import PlainHelp
from afterwrite.cli.standard_streams import open_standard_streams, silence_output
from afterwrite.errors import AfterwriteError

_CANNOT_WRITE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})

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

    The exit status is the command's; 2 where the command is used wrongly, afterwrite raises or the output cannot be
    written, with one line on standard error; 130 after Ctrl-C; 141 where nobody reads the output any more.
    """
    given = sys.argv[1:] if arguments is None else arguments
    open_standard_streams()
    command_line.help_formatter = "default" if sys.stdout.isatty() else PlainHelp()
    if not given or given[0] in command_line.help_flags:
        command_line.resolved_commands()  # the help says what each of them does
    try:
        exit_status = command_line(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:
        silence_output()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except (AfterwriteError, CycloptsError, OSError) as error:
        message = _message(error)
        if message is None:
            raise
        if isinstance(error, OSError) and error.filename is None:
            silence_output()
        print(f"afterwrite: {message}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(exit_status)


def _message(error: AfterwriteError | CycloptsError | OSError) -> str | None:
    """What is said of an error, on one line; None where it is not the user's to mend."""
    match error:
        case UnusedCliTokensError():
            called = " ".join(["afterwrite", *(error.command_chain or ())])
            left_over = " ".join(error.unused_tokens or ())
            return f"expected nothing more for {called}, got {left_over!r}: see {called} --help"
        case PermissionError():
            return (
                f"expected to be allowed to use {error.filename}, got: {error.strerror}; "
                "run this as the user who runs the engine, or let this one use it"
            )
        case OSError(filename=None) if error.errno in _CANNOT_WRITE:
            return f"expected to be able to write the output, got: {error.strerror}; free space and run this again"
        case OSError(filename=None):
            return None
        case OSError():
            return f"expected to be able to use {error.filename}, got: {error.strerror}"
    return " ".join(str(error).split())
