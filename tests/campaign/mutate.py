"""Damage and malice for files: bytes, JSON values, and texts of templates, changed at random."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from random import Random
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, 2**64, 10**30, 0.0, -0.5, 1e-300, 1e308,
    float("inf"), float("-inf"), float("nan"), "", " ", "a", "\u202e", "\x1b]52;c;AAAA\x07", "../../secret",
    "/etc/hostname", "\ud800", "\x00", "x" * 5_000, [], [[]], [None], [0], ["a", 1], {}, {"a": {}},
    {"rope_type": "yarn"}, {"content": 7},
)  # fmt: skip
"""Values that a key may hold by mistake."""

Path = tuple[Any, ...]


def damaged(raw: bytes, draw: Random) -> bytes:
    """Bytes cut, flipped, repeated, removed or inserted in a few places."""
    for _ in range(draw.choice((1, 1, 1, 2, 5, 20))):
        at = draw.randrange(len(raw) + 1)
        end = min(len(raw), at + draw.choice((1, 1, 2, 8, 64, 1_000)))
        raw = draw.choice(_BYTES)(raw, at, end, draw)
    return raw


_INSERTED = (b"\x00", b"\xff\xfe", b"[", b"{", b'"', b"\\ud800", b"1e999")

_BYTES: tuple[Callable[[bytes, int, int, Random], bytes], ...] = (
    lambda raw, at, end, draw: raw[:at],
    lambda raw, at, end, draw: raw[:at] + raw[end:],
    lambda raw, at, end, draw: raw[:at] + draw.randbytes(end - at) + raw[end:],
    lambda raw, at, end, draw: raw[:at] + raw[at:end] * 3 + raw[end:],
    lambda raw, at, end, draw: raw[:at] + draw.choice(_INSERTED) + raw[at:],
    lambda raw, at, end, draw: raw[:at] + draw.choice((b"[", b'{"a":')) * draw.choice((10, 1_000, 100_000)) + raw[at:],
    lambda raw, at, end, draw: raw[:at] + b"9" * draw.choice((5, 400, 5_000)) + raw[at:],
)  # fmt: skip


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where the values inside a JSON value are."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


def bent(value: Any, draw: Random, keys: tuple[str, ...] = ()) -> Any:
    """A JSON value with some values replaced, removed or added; `keys` are names that readers know."""
    value = json.loads(json.dumps(value))
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        *way, last = draw.choice(list(places(value))[1:] or [("",)])
        holder = value
        for key in way:
            holder = holder[key]
        if isinstance(holder, dict) and draw.random() < 0.2:
            holder[draw.choice(keys or ("a",))] = deepcopy(draw.choice(ODD))
        elif draw.random() < 0.2 and last in (holder if isinstance(holder, dict) else range(len(holder))):
            del holder[last]
        elif isinstance(holder, dict | list) and holder:
            holder[last] = deepcopy(draw.choice((*ODD, *_near(holder[last]))))
        if not isinstance(value, dict) or not value:
            break
    return value


def _near(value: Any) -> tuple[Any, ...]:
    """Values that look right and are not."""
    match value:
        case bool():
            return (not value, str(value), int(value))
        case int():
            return (
                value + 1,
                value - 1,
                -value,
                2 * value,
                1000 * value,
                float(value),
                value + 0.5,
                str(value),
                [value],
            )
        case float():
            return (-value, 1 / value if value else 1e9, str(value), [value])
        case str():
            return (value.upper(), value + "x", value[:-1], [value], {"content": value})
        case list():
            return (value[::-1], value[1:], value * 2, value[:1] * 1_000, dict.fromkeys(map(str, value)))
        case dict():
            return (list(value), list(value.values()), {**value, "a": 1})
    return ()


def text_of(value: Any, draw: Random) -> bytes:
    """A JSON value as a file, in one of the ways that files are written."""
    text = json.dumps(value, ensure_ascii=draw.random() < 0.7)
    raw = text.encode("utf8", "surrogatepass")
    return draw.choice(
        (raw, raw, raw, raw, b"\xef\xbb\xbf" + raw, text.encode("utf-16", "surrogatepass"), raw + b"\n\n")
    )
