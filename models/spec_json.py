"""A spec as JSON and back: every variant is a table with its type under `kind`."""

import json
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any

from models import spec as kinds
from models.errors import SpecError

_KINDS = {kind.__name__: kind for kind in vars(kinds).values() if isinstance(kind, type) and is_dataclass(kind)}


def spec_to_json(spec: kinds.DecoderSpec) -> str:
    """Text that `spec_from_json` reads; equal specs give equal text."""
    return json.dumps(_pack(spec), sort_keys=True)


def spec_from_json(text: str) -> kinds.DecoderSpec:
    """The spec that `spec_to_json` wrote; anything else is a `SpecError`."""
    try:
        spec = _unpack(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
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
    return kind(**found)
