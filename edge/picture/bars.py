"""Bars made of block characters, with a resolution of an eighth of a cell."""

import math

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: int | float, width: int) -> str:
    """A horizontal bar of `share` times `width` cells, padded with spaces to `width`.

    A share above 0 shows at least an eighth of a cell; NaN shows an empty bar.
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
    """One cell filled from the bottom to `share` of its height: at least an eighth above 0, empty for NaN."""
    if math.isnan(share):
        return " "
    eighths = round(min(max(share, 0.0), 1.0) * 8)
    return _COLUMNS[max(eighths, 1) if share > 0 else 0]
