"""The `edge` command, and the border where whatever goes wrong becomes one message and an exit code.

0 done, 1 failed, 2 misuse, 130 interrupted. Results go to stdout, everything else to stderr.
"""

import os
import sys
from collections.abc import Sequence

import click

from edge import __version__
from edge.commands import COMMANDS
from edge.errors import INTERRUPTED
from edge.picture.escape import escape_line
from edge.terminal import escaped_output

DEBUG_VARIABLE = "EDGE_DEBUG"
"""Set, an error that nobody foresaw shows its traceback."""

_PRIVATE = ("prompt", "system", "ids")
"""Arguments that no report tells."""


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
    """Runs one command line; whatever goes wrong is told in one message."""
    with escaped_output():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    try:
        with cli.make_context("edge", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as misuse:
        return _tell(_with_way_out(misuse), misuse.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()
    except BaseException as error:  # native libraries raise what is no Exception, too
        from edge.error_message import error_message

        if os.environ.get(DEBUG_VARIABLE):
            raise
        told = error_message(error, _asked(arguments))
        return _tell(told.message, told.code)
    return 0


def _asked(arguments: Sequence[str]) -> str:
    """The command line without the words of a prompt: `edge run model='fable-relu' prompt=... seed='1'`."""
    command: click.Command = cli
    words, rest = ["edge"], list(arguments)
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest[0]]
        words.append(rest.pop(0))
    try:
        given, _, _ = command.make_parser(click.Context(command)).parse_args(rest)
    except click.ClickException:
        return " ".join([*words, "..."])
    said = {name: value for name, value in given.items() if isinstance(value, str | bool | list | tuple) and value}
    return " ".join([*words, *(f"{name}={'...' if name in _PRIVATE else repr(said[name])}" for name in said)])


def _tell(message: str, code: int) -> int:
    print(f"edge: {message}", file=sys.stderr)
    return code


def _with_way_out(misuse: click.ClickException) -> str:
    """What click says, and the command whose help says more."""
    context = misuse.ctx if isinstance(misuse, click.UsageError) else None
    if isinstance(misuse, click.exceptions.NoArgsIsHelpError):
        return f"no command given\n\n{misuse.format_message()}"
    path = context.command_path if context else "edge"
    said = escape_line(misuse.format_message().rstrip(".?"))
    if (
        isinstance(misuse, click.NoSuchOption)
        and context
        and any(one.name == "prompt" for one in context.command.params)
    ):
        said += f"; a PROMPT that begins with '-' comes after '--', as in {path} MODEL -- '-5 is'"
    return f"{said}; '{path} --help' says what there is"


def _reader_left() -> int:
    """`edge run ... | head`: the reader has seen enough, which is no failure.

    stdout then leads nowhere, so that the interpreter's last flush does not complain.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
