"""Converts a spec to JSON and back. Every variant is an object with its type under `kind`."""

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from models import spec as kinds
from models.errors import SpecError
from models.json_text import parse_json
from models.sublayers.sublayer import Sublayer, kinds_of

_KINDS = {kind.__name__: kind for kind in vars(kinds).values() if isinstance(kind, type) and is_dataclass(kind)}


def _kind(name: str) -> Any:
    return _KINDS.get(name) or {kind.__name__: kind for kind in kinds_of(Sublayer)}[name]


def spec_to_json(spec: kinds.DecoderSpec) -> str:
    """The spec as JSON text; equal specs give equal text."""
    return json.dumps(_to_plain(spec), sort_keys=True)


def spec_from_json(text: str) -> kinds.DecoderSpec:
    """The inverse of `spec_to_json`. Raises SpecError for any other text."""
    try:
        spec = _from_plain(parse_json(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise SpecError(f"this is not a decoder spec written by Edge: {error}") from error
    if not isinstance(spec, kinds.DecoderSpec):
        raise SpecError(f"expected a decoder spec, found {type(spec).__name__}")
    return spec


def _to_plain(value: object) -> Any:
    if is_dataclass(value):
        return {"kind": type(value).__name__} | {
            field.name: _to_plain(getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, tuple):
        return [_to_plain(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def _from_plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_from_plain(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = _kind(value["kind"])
    values = {name: _from_plain(item) for name, item in value.items() if name != "kind"}
    if "activation" in values:
        values["activation"] = kinds.Activation(values["activation"])
    for name, expected in get_type_hints(kind).items():
        if name in values and not _fits(values[name], expected):
            raise ValueError(f"'{name}' of {kind.__name__} is {str(values[name])[:80]!r}")
    return kind(**values)


def _fits(value: object, kind: Any) -> bool:
    """Whether a value has a declared type. Nested values are checked when they are built."""
    inside = get_args(kind)
    if get_origin(kind) is UnionType:
        return any(_fits(value, one) for one in inside)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, inside[0]) for item in value)
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float if kind is float else kind)
