"""Escapes control characters in everything that is printed to stdout and stderr."""

import io
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from edge.picture.escape import escape_acting, escape_controls

_MOVES = re.compile("(?:\r|\n|\x1b\\[A)*")
"""Cursor moves of progress bars: to the start of the line, and up one line."""


class _Escaped:
    """A stream that escapes control characters and forwards everything else to the stream below.

    Args:
        moves: Whether a write may begin with cursor moves, as progress bars need.
    """

    def __init__(self, below: TextIO, moves: bool) -> None:
        self.below, self._moves = below, moves

    def write(self, text: str) -> int:
        match = _MOVES.match(text) if self._moves else None
        end = match.end() if match else 0
        self.below.write(text[:end] + escape_acting(text[end:]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Escapes everything that this process prints inside the block: results, messages, warnings, progress bars."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = cast(TextIO, _Escaped(before[0], moves=False))
    sys.stderr = cast(TextIO, _Escaped(before[1], moves=True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def write_generated(text: str) -> None:
    """Writes generated text to stdout and flushes. Escapes it on a terminal; a file or pipe receives it unchanged."""
    below = sys.stdout.below if isinstance(sys.stdout, _Escaped) else sys.stdout
    below.write(escape_controls(text) if below.isatty() else text)
    below.flush()
