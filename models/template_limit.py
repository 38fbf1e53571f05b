"""Ends a chat template that loops for ever: it is rendered as a model is loaded, and would hang every command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

MAX_LINES = 2_000_000
"""Lines of a template that may be run; a turn of a published one takes some tens."""

TEMPLATE = "<template>"
"""The file that jinja says its compiled code is in."""


class TooLongError(Exception):
    """The template ran more lines than it may."""

    def __init__(self) -> None:
        super().__init__(f"it runs more than {MAX_LINES:,} lines, so it may never end")


@contextmanager
def limit_lines() -> Iterator[None]:
    """Counts the lines that templates run on this thread meanwhile, and raises `TooLongError` beyond `MAX_LINES`.

    A count and not a clock: what is refused is the same on every machine.
    """
    before, left = sys.gettrace(), MAX_LINES

    def line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooLongError
        return line

    def call(frame: FrameType, event: str, argument: Any) -> Any:
        return line if frame.f_code.co_filename == TEMPLATE else None

    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)
