"""The `edge` command, and the one place where every refusal becomes one message and an exit code.

0 done, 1 failed, 2 misuse, 130 interrupted. Results go to stdout, everything else to stderr.
"""

import io
import os
import sys
from collections.abc import Sequence

import click

from edge import __version__
from edge.commands import COMMANDS
from edge.errors import FAILED, INTERRUPTED, EdgeError


class _InOrder(click.Group):
    """Lists its commands as they were given, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    commands=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
    Examples:
      edge look
      edge run fable-relu "Once upon a time"
    """,
)
@click.version_option(__version__, message="edge %(version)s")
def cli() -> None:
    """Run a decoder language model on this machine, in three runtimes, and see what happens inside."""


def exit_code(arguments: Sequence[str]) -> int:
    """Runs one command line; whatever goes wrong on purpose is told in one message."""
    _escape_what_cannot_be_shown()
    try:
        with cli.make_context("edge", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as misuse:
        return _tell(_with_way_out(misuse), misuse.exit_code)
    except EdgeError as refused:
        return _tell(str(refused), refused.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()
    except MemoryError as error:
        return _tell(f"this machine's memory does not suffice ({error}); a smaller model or watch needs less", FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _tell(f"{where}{error.strerror or error}", FAILED)
    return 0


def _tell(message: str, code: int) -> int:
    print(f"edge: {message}", file=sys.stderr)
    return code


def _with_way_out(misuse: click.ClickException) -> str:
    """What click says, and the command whose help says more."""
    context = misuse.ctx if isinstance(misuse, click.UsageError) else None
    if isinstance(misuse, click.exceptions.NoArgsIsHelpError):
        return f"no command given\n\n{misuse.format_message()}"
    path = context.command_path if context else "edge"
    return f"{misuse.format_message().rstrip('.?')}; '{path} --help' says what there is"


def _reader_left() -> int:
    """`edge run ... | head`: the reader has seen enough, which is no failure.

    stdout then leads nowhere, so that the interpreter's last flush does not complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _escape_what_cannot_be_shown() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
