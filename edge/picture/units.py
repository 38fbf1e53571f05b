"""Formats numbers with three significant digits and a unit, for all outputs."""

import math

Number = int | float


def show_number(value: Number) -> str:
    """`0.5834` -> `'0.583'`, `12.34` -> `'12.3'`, `1234.5` -> `'1,234'`: three digits, so that columns align."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size < 0.9995:
        return f"{value:.3f}" if size >= 0.0995 or size == 0 else f"{value:.2g}"
    if size < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if size < 99.95 else f"{value:,.0f}"


def show_error(error: Number) -> str:
    """A relative difference in a narrow format: `'1.2e-6'`, `'0.046'`, `'2.0'`."""
    if not 0 < error < 0.01:
        return "0" if error == 0 else f"{error:#.2g}" if error < 9.95 else show_number(error)
    digits, _, power = f"{error:.1e}".partition("e")
    return f"{digits}e{int(power)}"


def show_weight(weight: Number) -> str:
    """A weight from 0 to 1 with four decimals, so that columns align; `<0.0001` for smaller ones."""
    return "<0.0001" if 0 < weight < 0.00005 else f"{weight:.4f}"


def show_time(ns: Number) -> str:
    """`1_234_567` -> `'1.23 ms'`: the largest unit below 1,000."""
    if ns == 0:
        return "0 ns"
    for unit in ("ns", "µs", "ms"):
        if abs(ns) < 999.5:
            return f"{show_number(ns)} {unit}"
        ns /= 1_000
    return f"{show_number(ns)} s"


def show_bytes(size: Number) -> str:
    """`1_234_567` -> `'1.23 MB'`: powers of 1,000."""
    return _in_thousands(size, (" B", " kB", " MB", " GB", " TB"))


def show_count(count: Number) -> str:
    """`6_312_448` -> `'6.31M'`: parameters and tokens."""
    return _in_thousands(count, ("", "k", "M", "B", "T"))


def _in_thousands(value: Number, units: tuple[str, ...]) -> str:
    """The value in the largest unit that is at most 1,000; units are factors of 1,000. The first has no decimals."""
    whole, *larger, largest = units
    if value < 1_000:
        return f"{value:.0f}{whole}"
    for unit in larger:
        value /= 1_000
        if value < 999.5:
            return f"{show_number(value)}{unit}"
    return f"{show_number(value / 1_000)}{largest}"


def show_share(share: Number) -> str:
    """`0.8634` -> `'86.3%'`. Only exactly 1 shows 100%, and only 0 shows 0%; `<0.01%` below that."""
    if not math.isfinite(share):
        return str(share)
    if 0.9995 <= share < 1:
        return "99.9%"
    if 0 < share < 0.0001:
        return "<0.01%"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return f"{show_number(100 * share)}%"


_NAMED_BY_VALUE = ("share", "bytes", "count", "ratio")
"""Units that the formatted value shows already, or that have no name."""


def show_measured(value: Number, unit: str) -> str:
    """A measured number in the usual form of its unit, without the unit's name; a dash for NaN."""
    if math.isnan(value):
        return "–"
    sign, size = ("−" if value < 0 else ""), abs(value)
    match unit:
        case "share":
            return sign + show_share(size)
        case "share_difference":
            return sign + (show_number(100 * size) if size else "0")
        case "bytes" if math.isfinite(size):
            return sign + show_bytes(size)
        case "count" if float(size).is_integer():
            return f"{sign}{size:,.0f}"
        case _:
            return sign + show_number(size)


def show_with_unit(value: Number, unit: str, points: str = "percentage points") -> str:
    """A number with its unit: `0.43 bits`, `42%`.

    Args:
        points: The name of percentage points; `pp` in a narrow table.
    """
    shown = show_measured(value, unit)
    return shown if math.isnan(value) or unit in _NAMED_BY_VALUE else f"{shown} {unit_title(unit, points)}"


def unit_title(unit: str, points: str = "percentage points") -> str:
    """A unit as people read it: a difference of two shares, -1 to 1, is shown in percentage points."""
    return points if unit == "share_difference" else unit


def show_tolerance(tolerance: float) -> str:
    """`5e-05` -> `'5e-5'`."""
    return f"{tolerance:g}".replace("e-0", "e-")
