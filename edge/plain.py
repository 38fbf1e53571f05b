"""Frozen dataclasses as plain JSON values and back, by the types that their fields declare."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from models.errors import EdgeError
from models.json_text import parse_json

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Tables, lists, text, numbers: what `json` writes."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_plain(item) for item in value]
    return value


def from_plain(kind: type[T], plain: Any) -> T:
    """The dataclass that `to_plain` took apart; unknown keys are left, and null is NaN where a number is wanted.

    A field with a default may be missing: records of older versions lack it.

    Raises:
        ValueError: something is missing, or is of another kind; the message names the field.
    """
    found: T = read_value(kind, plain, kind.__name__)
    return found


def open_record(path: Path, of: type[T], what: str, kind: str, format: int) -> T:
    """Reads `{"format": 1, "kind": ..., "profile": ...}`, `profile` being `what`, as the command of that name wrote it.

    Raises:
        EdgeError: there is no such file, or it holds something else; the message says what.
    """
    if not path.is_file():
        raise EdgeError(f"there is no {what} at {path}; 'edge {what} MODEL --json > FILE' writes one")
    try:
        record = parse_json(path.read_text(encoding="utf8"))
        if not isinstance(record, dict) or record.get("kind") != kind:
            raise ValueError(f"it is no record of 'edge {what}'")
        if record.get("format") != format:
            raise ValueError(
                f"it has format {record.get('format')}, this Edge reads {format}; 'edge {what} MODEL --json > FILE' "
                "writes it anew"
            )
        return from_plain(of, record.get(what))
    except (ValueError, OverflowError) as error:
        raise EdgeError(f"{path} is not a {what} that this Edge reads: {error}") from error


def read_value(kind: Any, plain: Any, where: str) -> Any:
    """A value of the declared type, out of plain JSON.

    Raises:
        ValueError: it is of another kind; the message begins with `where`.
    """
    origin, inside = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(kind, plain, where)
    if origin is Literal and isinstance(plain, str | int) and plain in inside:
        return plain
    if origin is UnionType:
        return None if plain is None else read_value(next(one for one in inside if one is not NoneType), plain, where)
    if origin is tuple and isinstance(plain, list):
        return tuple(read_value(inside[0], item, f"{where}[{place}]") for place, item in enumerate(plain))
    if origin in (dict, Mapping) and isinstance(plain, dict):
        return {key: read_value(inside[1], item, f"{where}.{key}") for key, item in plain.items()}
    if kind is float and isinstance(plain, int | None) and not isinstance(plain, bool):
        return math.nan if plain is None else float(plain)
    if isinstance(kind, type) and issubclass(kind, Enum) and plain in [member.value for member in kind]:
        return kind(plain)
    if isinstance(kind, type) and isinstance(plain, kind) and isinstance(plain, bool) == (kind is bool):
        return plain
    raise ValueError(f"{where} is {type(plain).__name__}, not {getattr(kind, '__name__', kind)}")


def _dataclass(kind: Any, plain: Any, where: str) -> Any:
    if not isinstance(plain, dict):
        raise ValueError(f"{where} is {type(plain).__name__}, not a table")
    types = get_type_hints(kind)
    needed = [field for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    missing = [field.name for field in needed if field.name not in plain]
    if missing:
        raise ValueError(f"{where} has no '{missing[0]}'")
    told = [field.name for field in fields(kind) if field.name in plain]
    return kind(**{name: read_value(types[name], plain[name], f"{where}.{name}") for name in told})
