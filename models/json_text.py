"""JSON as Edge writes and reads it, everywhere: written without NaN or control characters, read only so deep."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What `json` leaves as it is and a terminal acts on: C1, marks of direction, line separators, half surrogate pairs."""

DEEPEST = 100
"""Tables and lists within each other; whatever walks through what was read may call itself that often."""


def parse_json(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What JSON text holds.

    Args:
        pairs: Makes a table out of its keys and values, in order; the last of equal keys wins by default.

    Raises:
        ValueError: it is no JSON, or nested deeper than `DEEPEST`.
    """
    deep = f"it is nested deeper than {DEEPEST} levels"
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError(deep) from error
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
    if level:
        raise ValueError(deep)
    return value


def _inside(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def finite(value: Any) -> Any:
    """The same tables, with lists for tuples, and None in place of every number that is not finite."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, compact: bool = False, in_ascii: bool = False
) -> str:
    """`value` as JSON; null stands for a number that is not finite.

    Args:
        compact: No spaces after commas and colons.
        in_ascii: Every letter beyond ASCII is an escape.
    """
    separators = (",", ":") if compact else None
    written = json.dumps(
        finite(value),
        ensure_ascii=in_ascii,
        allow_nan=False,
        indent=indent,
        sort_keys=sort_keys,
        separators=separators,
    )
    return _CONTROLS.sub(lambda found: f"\\u{ord(found.group()):04x}", written)
