"""Stops chat templates that do not end. They are rendered when a model is loaded, so they would block every command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

MAX_LINES = 2_000_000
"""Maximum lines of a template that may run. Published templates run some tens of lines per message."""

TEMPLATE = "<template>"
"""File name of jinja's compiled code."""


class TooLongError(Exception):
    """The template ran more than `MAX_LINES` lines."""

    def __init__(self) -> None:
        super().__init__(f"it runs more than {MAX_LINES:,} lines, so it may never end")


@contextmanager
def limit_lines() -> Iterator[None]:
    """Raises `TooLongError` if templates run more than `MAX_LINES` lines on this thread inside the block.

    Counts lines, not time, so that the result is the same on every machine.
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
