"""Converts frozen dataclasses to plain JSON values and back, by the declared types of their fields."""

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


def to_json_value(value: Any) -> Any:
    """The value as dicts, lists, strings and numbers, which `json` can write."""
    if is_dataclass(value):
        return {field.name: to_json_value(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json_value(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json_value(item) for item in value]
    return value


def from_json_value(kind: type[T], value: Any) -> T:
    """The inverse of `to_json_value`. Ignores unknown keys; reads null as NaN where the field is a float.

    A field with a default may be missing, as in records of older versions.

    Raises:
        ValueError: a field is missing or has another type; the message names the field.
    """
    parsed: T = read_value(kind, value, kind.__name__)
    return parsed


def open_record(path: Path, of: type[T], what: str, kind: str, format: int) -> T:
    """Reads `{"format": 1, "kind": ..., "profile": ...}`, where `profile` is `what`: the record of a command.

    Raises:
        EdgeError: the file does not exist, or is not such a record; the message says why.
    """
    if not path.is_file():
        raise EdgeError(f"there is no {what} at {path}; 'edge {what} MODEL --json > FILE' writes one")
    try:
        record = parse_json(path.read_text(encoding="utf8"))
        if not isinstance(record, dict) or record.get("kind") != kind:
            raise ValueError(f"it was not written by 'edge {what}'")
        if record.get("format") != format:
            raise ValueError(
                f"it has format {record.get('format')}, this Edge reads format {format}; write it again with "
                f"'edge {what} MODEL --json > FILE'"
            )
        return from_json_value(of, record.get(what))
    except (ValueError, OverflowError) as error:
        raise EdgeError(f"{path} is not a {what} that this Edge reads: {error}") from error


def read_value(kind: Any, value: Any, where: str) -> Any:
    """Parses a plain JSON value as the declared type.

    Raises:
        ValueError: the value has another type; the message begins with `where`.
    """
    origin, inside = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        return _dataclass(kind, value, where)
    if origin is Literal and isinstance(value, str | int) and value in inside:
        return value
    if origin is UnionType:
        return None if value is None else read_value(next(one for one in inside if one is not NoneType), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(read_value(inside[0], item, f"{where}[{place}]") for place, item in enumerate(value))
    if origin in (dict, Mapping) and isinstance(value, dict):
        return {key: read_value(inside[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float and isinstance(value, int | None) and not isinstance(value, bool):
        return math.nan if value is None else float(value)
    if isinstance(kind, type) and issubclass(kind, Enum) and value in [member.value for member in kind]:
        return kind(value)
    if isinstance(kind, type) and isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    raise ValueError(f"{where} is {type(value).__name__}, not {getattr(kind, '__name__', kind)}")


def _dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {type(value).__name__}, not a JSON object")
    types = get_type_hints(kind)
    needed = [field for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    missing = [field.name for field in needed if field.name not in value]
    if missing:
        raise ValueError(f"{where} has no '{missing[0]}'")
    present = [field.name for field in fields(kind) if field.name in value]
    return kind(**{name: read_value(types[name], value[name], f"{where}.{name}") for name in present})
