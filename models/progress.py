"""The type of progress callbacks: functions that take one line of text."""

from collections.abc import Callable

Progress = Callable[[str], None]
