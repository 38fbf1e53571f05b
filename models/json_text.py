"""Reads and writes JSON: without NaN and control characters, and with limited nesting."""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that `json` does not escape but should not reach a terminal: C1, direction marks, surrogates."""

MAX_DEPTH = 100
"""Maximum nesting of objects and lists, which bounds recursion over parsed values."""


def parse_json(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Parses JSON text.

    Args:
        pairs: Builds an object from its key-value pairs, in order. By default the last of equal keys wins.

    Raises:
        ValueError: the text is not JSON, or is nested deeper than `MAX_DEPTH`.
    """
    too_deep = f"it is nested deeper than {MAX_DEPTH} levels"
    try:
        value = json.loads(text, object_pairs_hook=pairs)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for outer in level if isinstance(outer, dict | list) for inner in _inside(outer)]
    if level:
        raise ValueError(too_deep)
    return value


def _inside(outer: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return outer.values() if isinstance(outer, dict) else outer


def finite(value: Any) -> Any:
    """A copy with lists for tuples, and None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(
    value: Any, *, indent: int | None = None, sort_keys: bool = False, compact: bool = False, in_ascii: bool = False
) -> str:
    """`value` as JSON. Numbers that are not finite become null.

    Args:
        compact: No spaces after commas and colons.
        in_ascii: Escape all characters outside ASCII.
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
    return _CONTROLS.sub(lambda match: f"\\u{ord(match.group()):04x}", written)
