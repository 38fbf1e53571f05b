"""The external initializers of a graph: parameters by name, quantized ones in parts, and rotary tables."""

from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from export.layout import DENSE, Layout, fused_groups, part_shapes
from models.checkpoint import Checkpoint
from models.parameters import Shapes, parameter_shapes
from models.precision import Zero
from models.quantized import QuantizedMatrix, codes_to_bytes
from models.rotary import rotary_tables
from models.spec import DecoderSpec, NoScaling, Rotary

Values = NDArray[np.float32] | NDArray[np.float16] | NDArray[np.uint8]


def rotaries(spec: DecoderSpec) -> tuple[Rotary, ...]:
    """The distinct rotary position schemes of a decoder, in layer order."""
    return tuple(dict.fromkeys(one.position for one in spec.attentions if isinstance(one.position, Rotary)))


def table_names(rotary: Rotary) -> tuple[str, str]:
    """Names of the cosine and sine tables of a rotary scheme."""
    stem = f"rotary.{rotary.base:g}.{rotary.features}"
    if not isinstance(rotary.scaling, NoScaling):
        stem += f".{crc32(repr(rotary.scaling).encode()):08x}"
    return f"{stem}.cos", f"{stem}.sin"


def initializer_shapes(spec: DecoderSpec, layout: Layout = DENSE) -> Shapes:
    """Names and shapes of initializers for tracing: parameters, then rotary tables for the whole context."""
    shapes: Shapes = {}
    for name, shape in parameter_shapes(spec).items():
        scheme = layout.schemes.get(name)
        shapes |= {name: shape} if scheme is None else part_shapes(name, shape, scheme)
    if spec.tied and (scheme := layout.schemes.get("head.weight")):
        shapes |= part_shapes("head.weight", (spec.vocab_size, spec.token_width), scheme)
    tables = {name: (spec.context, kind.features // 2) for kind in rotaries(spec) for name in table_names(kind)}
    return shapes | tables


def initializer_values(checkpoint: Checkpoint, layout: Layout = DENSE) -> Iterator[tuple[str, Values]]:
    """Yields the initializers of a finished graph. Arrays stay memory-mapped if the file has the needed format."""
    groups = fused_groups(checkpoint.spec, layout)
    stacked = {stem for stems in groups.values() for stem in stems}
    for name in parameter_shapes(checkpoint.spec):
        if name.rpartition(".")[0] in stacked:
            continue
        if name in layout.schemes:
            yield from _parts(name, checkpoint.quantized[name])
        else:
            yield name, np.ascontiguousarray(checkpoint.weights[name], layout.float_type)
    for name, stems in groups.items():
        yield from _stacked(checkpoint, name, stems)
    if checkpoint.spec.tied and "head.weight" in layout.schemes:
        yield from _parts("head.weight", checkpoint.quantized["embed.weight"])
    for kind in rotaries(checkpoint.spec):
        for name, table in zip(table_names(kind), rotary_tables(kind, checkpoint.spec.context), strict=True):
            yield name, table.astype(layout.float_type, copy=False)


def add_initializers(options: Any, values: Mapping[str, Any], in_place: bool) -> None:
    """Adds initializers to the options of an ONNX Runtime session.

    A session copies external initializers when it reads its graph. If they are also added as shared initializers
    (`in_place`, only on the CPU), the session uses the original memory and frees the copies.
    """
    options.add_external_initializers(list(values), list(values.values()))
    if in_place:
        for name, value in values.items():
            options.add_initializer(name, value)


def _stacked(checkpoint: Checkpoint, name: str, stems: tuple[str, ...]) -> Iterator[tuple[str, Values]]:
    """Stacked initializers of several quantized matrices, with their biases if there are any."""
    of_each = [dict(_parts(f"{stem}.weight", checkpoint.quantized[f"{stem}.weight"])) for stem in stems]
    for stem, parts in zip(stems, of_each, strict=True):
        if (bias := f"{stem}.bias") in checkpoint.weights:
            parts[bias] = np.ascontiguousarray(checkpoint.weights[bias], np.float32)
    for same in zip(*(parts.items() for parts in of_each), strict=True):
        kind = same[0][0].rpartition(".")[2]
        yield f"{name}.{kind}", np.concatenate([array for _, array in same])


def _parts(parameter: str, matrix: QuantizedMatrix) -> Iterator[tuple[str, Values]]:
    """Codes, scales and zeros of a quantized matrix, in the shapes that their operator needs."""
    arrays = {"codes": matrix.codes, "scales": matrix.scales}
    if matrix.zeros is not None:
        odd = matrix.zeros.shape[1] % 2 if matrix.scheme.bits == 4 else 0
        whole = matrix.scheme.zero is Zero.WHOLE
        padded = np.pad(matrix.zeros, ((0, 0), (0, odd)))
        arrays["zeros"] = codes_to_bytes(padded, matrix.scheme.bits) if whole else matrix.zeros
    for name, shape in part_shapes(parameter, matrix.shape, matrix.scheme).items():
        yield name, arrays[name.rpartition(".")[2]].reshape(shape)
