"""The one way to stdout and stderr: whatever is printed, no control character reaches a terminal."""

import io
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from edge.picture.escape import escape_acting, escape_controls

_MOVES = re.compile("(?:\r|\n|\x1b\\[A)*")
"""How a progress bar goes back to the start of its line, and up to the line of another bar."""


class _Escaped:
    """A stream that spells control characters out, and is the one below it in everything else.

    Args:
        moves: Whether a write may begin with moves of the cursor, as those of progress bars do.
    """

    def __init__(self, below: TextIO, moves: bool) -> None:
        self.below, self._moves = below, moves

    def write(self, text: str) -> int:
        begins = _MOVES.match(text) if self._moves else None
        end = begins.end() if begins else 0
        self.below.write(text[:end] + escape_acting(text[end:]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


@contextmanager
def escaped_output() -> Iterator[None]:
    """Meanwhile everything that is printed in this process is escaped: results, messages, warnings, progress bars."""
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
    """Text of a model on stdout, at once: as it is where a file or another program reads it."""
    below = sys.stdout.below if isinstance(sys.stdout, _Escaped) else sys.stdout
    below.write(escape_controls(text) if below.isatty() else text)
    below.flush()
