"""Horizontal bars of text, an eighth of a cell fine."""

import math

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: int | float, width: int) -> str:
    """A bar `share` of `width` cells long, padded with spaces to `width`.

    Anything above 0 shows at least an eighth; what is not a number, nothing.
    """
    if math.isnan(share):
        return " " * width
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if share > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


_COLUMNS = " ▁▂▃▄▅▆▇█"


def column(share: int | float) -> str:
    """One cell filled from below to `share` of its height; above 0 at least an eighth, what is not a number nothing."""
    if math.isnan(share):
        return " "
    eighths = round(min(max(share, 0.0), 1.0) * 8)
    return _COLUMNS[max(eighths, 1) if share > 0 else 0]
