"""The `edge` command. Every error becomes one message and an exit code.

0 success, 1 failure, 2 misuse, 130 interrupted. Results go to stdout, everything else to stderr.
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
"""Environment variable. If it is set, unexpected errors show their traceback."""

_PRIVATE = ("prompt", "system", "ids")
"""Arguments whose values are left out of error reports."""


class _InOrder(click.Group):
    """Lists commands in the order of `COMMANDS`, the most used first."""

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
    """Runs one command line; prints an error as one message. Returns the exit code."""
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
        return _fail(_with_help_hint(misuse), misuse.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _output_closed()
    except BaseException as error:  # native libraries also raise classes that are not an Exception
        from edge.error_message import error_message

        if os.environ.get(DEBUG_VARIABLE):
            raise
        shown = error_message(error, _without_prompt(arguments))
        return _fail(shown.message, shown.code)
    return 0


def _without_prompt(arguments: Sequence[str]) -> str:
    """The command line without the text of a prompt: `edge run model='fable-relu' prompt=... seed='1'`."""
    command: click.Command = cli
    words, rest = ["edge"], list(arguments)
    while isinstance(command, click.Group) and rest and rest[0] in command.commands:
        command = command.commands[rest[0]]
        words.append(rest.pop(0))
    try:
        given, _, _ = command.make_parser(click.Context(command)).parse_args(rest)
    except click.ClickException:
        return " ".join([*words, "..."])
    shown = {name: value for name, value in given.items() if isinstance(value, str | bool | list | tuple) and value}
    return " ".join([*words, *(f"{name}={'...' if name in _PRIVATE else repr(shown[name])}" for name in shown)])


def _fail(message: str, code: int) -> int:
    print(f"edge: {message}", file=sys.stderr)
    return code


def _with_help_hint(misuse: click.ClickException) -> str:
    """Click's message, and the help command to read."""
    context = misuse.ctx if isinstance(misuse, click.UsageError) else None
    if isinstance(misuse, click.exceptions.NoArgsIsHelpError):
        return f"no command given\n\n{misuse.format_message()}"
    path = context.command_path if context else "edge"
    message = escape_line(misuse.format_message().rstrip(".?"))
    if (
        isinstance(misuse, click.NoSuchOption)
        and context
        and any(one.name == "prompt" for one in context.command.params)
    ):
        message += f"; put a PROMPT that begins with '-' after '--', as in {path} MODEL -- '-5 is'"
    return f"{message}; see '{path} --help'"


def _output_closed() -> int:
    """Handles a closed stdout, as in `edge run ... | head`: this is not a failure.

    stdout is redirected to the null device, so that the interpreter's last flush does not fail.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
