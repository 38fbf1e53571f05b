"""Pieces of text that tokens stand for, made safe to show: no control byte reaches a terminal."""

from unicodedata import category, combining

_SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}


def show_piece(piece: str) -> str:
    """A piece on one line: newlines as `↵`, what has no width or moves the cursor as an escape; spaces stay."""
    return "".join(_SIGNS.get(letter) or _show_letter(letter) for letter in piece)


def quote_piece(piece: str) -> str:
    """A piece in quotes, so that its spaces can be seen: `' king'`."""
    return f"'{show_piece(piece)}'"


def _show_letter(letter: str) -> str:
    kind = category(letter)
    if kind[0] != "C" and kind not in ("Zl", "Zp", "Mn", "Me") and not combining(letter):
        return letter
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
