"""The command's edge: arguments in, an exit status out, and nothing else a traceback."""

from __future__ import annotations

import errno
import gc
import io
import locale
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import click

from lossbench.errors import ASCII, LossbenchError, OutputError, without_secrets
from lossbench.version import __version__

COMMANDS = (
    "eval", "inspect", "thresholds", "stress", "trend", "losses", "explain", "compare", "report",
    "merge", "gradcheck", "weights", "schema", "speed",
)  # fmt: skip
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)  # what printing meets
EPILOG = "Example: lossbench eval pred/ gt/ --loss dice --gate 'dice.mean <= 0.15'"


class Group(click.Group):
    """A group whose status without a command is 2 with every version of click."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if not args and not context.resilient_parsing:
            commands = ", ".join(self.list_commands(context))
            raise click.UsageError(f"expected a command: {commands}; -h tells more", context)
        return super().parse_args(context, args)


class Commands(Group):
    """Commands by name, each in a module that is imported when it is asked for."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__package__}.{name}").command
        return command


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that it can tidy up."""


@click.group(
    cls=Commands,
    epilog=EPILOG,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Tell how wrong a folder of predictions is.

    Exit status: 0 all well; 1 a gate failed; 2 wrong usage; 3 inputs missing, unreadable or
    mismatched; 4 an internal fault or a result that could not be written.
    """


def main() -> NoReturn:
    """The console script."""
    gc.disable()  # what is imported stays to the end; a run of many pairs turns it on again
    _open_streams()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        if instruction := os.environ.get("_LOSSBENCH_COMPLETE"):
            from .completion import complete

            _leave(complete(cli, instruction))
        with cli.make_context("lossbench", sys.argv[1:]) as context:
            status = cli.invoke(context) or 0
    except click.exceptions.Exit as error:
        status = error.exit_code
    except click.UsageError as error:
        usage = f"{error.ctx.get_usage()}\n" if error.ctx else ""
        note(f"{usage}error: {error.format_message()}")
        status = 2
    except LossbenchError as error:
        complain(str(error))
        status = error.exit_status
    except (click.Abort, KeyboardInterrupt):
        _die_by(signal.SIGINT)
    except Terminated:
        _die_by(signal.SIGTERM)
    except BrokenPipeError:
        status = 0
    except Exception as error:
        if isinstance(error, OSError) and error.filename is None:
            failed = (
                "the output could not be written" if error.errno in FULL else "the system refused"
            )
            complain(f"{failed}: {error.strerror or error}")
        else:
            note(traceback.format_exc())
        status = 4
    _leave(int(status))


def complain(message: str) -> None:
    """One error on stderr."""
    note(f"error: {message}")


def note(message: str) -> None:
    """A line on stderr; where nobody reads it, it is lost and nothing else happens."""
    text = without_secrets(message)
    try:
        click.echo(text if has_symbols(sys.stderr) else text.translate(ASCII), err=True)
    except OSError:
        _silence(sys.stderr)


def write(text: str) -> None:
    """The result on stdout; a reader that has gone away is no error."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
    except OSError as error:
        _silence(sys.stdout)
        raise OutputError(f"the result could not be written: {error.strerror}") from None


def terminal(color: str = "auto") -> dict[str, Any]:
    """How wide and how colourful a table may be, and whether it is limited to ASCII."""
    shown = sys.stdout.isatty()
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    wanted = bool(os.environ.get("FORCE_COLOR")) or (shown and not plain)
    width = int(columns) if (columns := os.environ.get("COLUMNS", "")).isdecimal() else 0
    if shown and not width:
        with suppress(OSError):
            width = os.get_terminal_size(sys.stdout.fileno()).columns
    return {
        "width": width or None,
        "color": {"always": True, "never": False}.get(color, wanted),
        "ascii": not has_symbols(sys.stdout),
    }


def has_symbols(stream: Any) -> bool:
    """Whether the reader of a stream can see arrows, lines and signs."""
    encoding = stream.encoding or "ascii"
    chosen = "PYTHONUTF8" in os.environ or "PYTHONIOENCODING" in os.environ
    if sys.flags.utf8_mode and not chosen:  # in the locale C, which has no more than ASCII
        encoding = locale.getencoding()
    try:
        "↓─✓".encode(encoding)
    except (LookupError, UnicodeError):
        return False
    return True


def _open_streams() -> None:
    """Streams that were closed at the start go nowhere; what a terminal cannot show is escaped."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w"))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        # Without a buffer (PYTHONUNBUFFERED) what a full disk does not take is lost unsaid.
        buffered, encoding = io.BufferedWriter(sys.stdout.buffer), sys.stdout.encoding
        sys.stdout = io.TextIOWrapper(buffered, encoding, "backslashreplace")


def _silence(stream: Any) -> None:
    """Nothing more is written to a stream that has failed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _terminate(*_: Any) -> NoReturn:
    raise Terminated


def _die_by(number: signal.Signals) -> NoReturn:
    """End as the signal would have ended the process, so that a shell sees which."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)


def _leave(status: int) -> NoReturn:
    """End now: tidying up after torch takes the interpreter half a second."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            _silence(stream)
    os._exit(status)
