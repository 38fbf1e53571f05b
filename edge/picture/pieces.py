"""Text of tokens as safe labels: control characters are escaped."""

from unicodedata import category, combining

_SIGNS = {"\n": "↵", "\t": "⇥", "\r": "␍"}


def show_piece(piece: str) -> str:
    """A token's text on one line: newlines as `↵`, control and zero-width characters escaped, spaces kept."""
    return "".join(_SIGNS.get(letter) or _show_letter(letter) for letter in piece)


def quote_piece(piece: str) -> str:
    """A token's text in quotes, which makes spaces visible: `' king'`."""
    return f"'{show_piece(piece)}'"


def _show_letter(letter: str) -> str:
    kind = category(letter)
    if kind[0] != "C" and kind not in ("Zl", "Zp", "Mn", "Me") and not combining(letter):
        return letter
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
