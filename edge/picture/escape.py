"""Makes external text safe for a terminal: control characters are escaped, such as `\\x1b`."""

import re

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 without tab and newline, DEL, and C1."""

_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Characters that change the text direction."""

_ANY_CONTROL = re.compile(f"[{_CONTROLS}]")
_ACTING = re.compile(f"[{_CONTROLS}{_DIRECTIONS}]")
_BEYOND_A_LINE = re.compile(f"[{_CONTROLS}{_DIRECTIONS}\t\n\u2028\u2029\ud800-\udfff]")


def escape_controls(text: str) -> str:
    """Escapes control characters; keeps newlines, tabs and direction marks. For generated text."""
    return _ANY_CONTROL.sub(_escaped, text)


def escape_acting(text: str) -> str:
    """Escapes control characters and direction marks; keeps newlines and tabs. For output of several lines."""
    return _ACTING.sub(_escaped, text)


def without_acting(text: str) -> str:
    """Removes all of these characters. For output with a fixed layout."""
    return _BEYOND_A_LINE.sub("", text)


def escape_line(text: str) -> str:
    """Escapes everything that could break a line. For names and messages on one line."""
    return _BEYOND_A_LINE.sub(_escaped, text)


def _escaped(match: "re.Match[str]") -> str:
    letter = match.group()
    if letter in "\t\n\r":
        return {"\t": "\\t", "\n": "\\n", "\r": "\\r"}[letter]
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x100 else f"\\u{ord(letter):04x}"
