"""What a graph needs from outside: every parameter by its name, and the rotary tables by theirs."""

from collections.abc import Iterator
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import Checkpoint
from models.parameters import Shapes, parameter_shapes
from models.rotary import rotary_tables
from models.spec import DecoderSpec, NoScaling, Rotary

Values = NDArray[np.float32]


def rotaries(spec: DecoderSpec) -> tuple[Rotary, ...]:
    """The kinds of rotary position in a decoder, each once, in layer order."""
    return tuple(dict.fromkeys(layer.position for layer in spec.layers if isinstance(layer.position, Rotary)))


def table_names(rotary: Rotary) -> tuple[str, str]:
    """The initializers that hold one rotary's cosines and sines."""
    stem = f"rotary.{rotary.base:g}.{rotary.features}"
    if not isinstance(rotary.scaling, NoScaling):
        stem += f".{crc32(repr(rotary.scaling).encode()):08x}"
    return f"{stem}.cos", f"{stem}.sin"


def initializer_shapes(spec: DecoderSpec) -> Shapes:
    """Name and shape of everything a graph is given: parameters, then tables as long as the context."""
    tables = {name: (spec.context, kind.features // 2) for kind in rotaries(spec) for name in table_names(kind)}
    return parameter_shapes(spec) | tables


def initializer_values(checkpoint: Checkpoint) -> Iterator[tuple[str, Values]]:
    """Every initializer in float32, one at a time; stored float32 stays backed by its file."""
    for name in parameter_shapes(checkpoint.spec):
        yield name, np.ascontiguousarray(checkpoint.weights[name], dtype=np.float32)
    for kind in rotaries(checkpoint.spec):
        yield from zip(table_names(kind), rotary_tables(kind, checkpoint.spec.context), strict=True)
