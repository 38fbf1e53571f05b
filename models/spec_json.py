"""A spec as JSON and back: every variant is a table with its type under `kind`."""

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from models import spec as kinds
from models.errors import SpecError
from models.json_text import parse_json

_KINDS = {kind.__name__: kind for kind in vars(kinds).values() if isinstance(kind, type) and is_dataclass(kind)}


def spec_to_json(spec: kinds.DecoderSpec) -> str:
    """Text that `spec_from_json` reads; equal specs give equal text."""
    return json.dumps(_pack(spec), sort_keys=True)


def spec_from_json(text: str) -> kinds.DecoderSpec:
    """The spec that `spec_to_json` wrote; anything else is a `SpecError`."""
    try:
        spec = _unpack(parse_json(text))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise SpecError(f"this is not a decoder spec written by Edge: {error}") from error
    if not isinstance(spec, kinds.DecoderSpec):
        raise SpecError(f"expected a decoder spec, found {type(spec).__name__}")
    return spec


def _pack(value: object) -> Any:
    if is_dataclass(value):
        return {"kind": type(value).__name__} | {
            field.name: _pack(getattr(value, field.name)) for field in fields(value)
        }
    if isinstance(value, tuple):
        return [_pack(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_unpack(item) for item in value)
    if not isinstance(value, dict):
        return value
    kind = _KINDS[value["kind"]]
    found = {name: _unpack(item) for name, item in value.items() if name != "kind"}
    if "activation" in found:
        found["activation"] = kinds.Activation(found["activation"])
    for name, wanted in get_type_hints(kind).items():
        if name in found and not _fits(found[name], wanted):
            raise ValueError(f"'{name}' of {kind.__name__} is {str(found[name])[:80]!r}")
    return kind(**found)


def _fits(value: object, kind: Any) -> bool:
    """Whether a value is of a declared type; parts of it were checked when they were made."""
    inside = get_args(kind)
    if get_origin(kind) is UnionType:
        return any(_fits(value, one) for one in inside)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_fits(item, inside[0]) for item in value)
    if isinstance(value, bool) or kind is bool:
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float if kind is float else kind)
