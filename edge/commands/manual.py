"""Writes docs/commands.md from the commands themselves: `python -m edge.commands.manual docs/commands.md`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from edge.cli import cli

_OPENING = """# Commands

Written by `make docs` from what each command's `--help` says.

Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. Results go to stdout, everything else to stderr.
"""
_COLUMNS = 100


def manual() -> str:
    """The help of every command, as one Markdown page."""
    return "\n".join([_OPENING, *(_section(path, command) for path, command in _commands("edge", cli))])


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _commands(f"{path} {name}", inner)


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path, terminal_width=_COLUMNS, **cli.context_settings)
    return f"## {path}\n\n```text\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(manual(), encoding="utf8")
