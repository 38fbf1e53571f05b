"""What `--help` of every command says."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from edge.cli import cli
from tests.words.piece import Piece, shown


def pieces() -> Iterator[Piece]:
    """The docstring of each command: the rest of its help is strings of the modules."""
    for command in _commands(cli):
        if command.callback is not None and command.help:
            function = inspect.unwrap(command.callback)
            file, line = Path(function.__code__.co_filename), function.__code__.co_firstlineno
            lines = file.read_text(encoding="utf8").splitlines()[line - 1 :]
            yield Piece(shown(file), line, command.help.replace("\b", ""), is_brief=True, lines=tuple(lines))


def _commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _commands(inner)
