"""JSON as Edge writes it, everywhere: no NaN and no Infinity, and no control character as it is."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_CONTROLS = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What `json` leaves as it is and a terminal acts on: C1, marks of direction, line separators, half surrogate pairs."""


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
