"""Text from outside as a terminal may have it: what a terminal acts on is spelled out, such as `\\x1b`."""

import re

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 but for tab and new line, DEL, and C1."""

_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""What changes the direction of the text after it."""

_ANY_CONTROL = re.compile(f"[{_CONTROLS}]")
_ACTING = re.compile(f"[{_CONTROLS}{_DIRECTIONS}]")
_BEYOND_A_LINE = re.compile(f"[{_CONTROLS}{_DIRECTIONS}\t\n\u2028\u2029\ud800-\udfff]")


def escape_controls(text: str) -> str:
    """Generated text, whose lines, tabs and directions stay."""
    return _ANY_CONTROL.sub(_spelled, text)


def escape_acting(text: str) -> str:
    """Output of several lines: its lines and tabs stay, directions do not."""
    return _ACTING.sub(_spelled, text)


def without_acting(text: str) -> str:
    """Output whose letters have their places already: what a terminal acts on is left out."""
    return _BEYOND_A_LINE.sub("", text)


def escape_line(text: str) -> str:
    """A name or a message, on one line."""
    return _BEYOND_A_LINE.sub(_spelled, text)


def _spelled(found: "re.Match[str]") -> str:
    letter = found.group()
    if letter in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[letter]
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else f"\\u{ord(letter):04x}"
