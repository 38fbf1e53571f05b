"""The external initializers of a graph: parameters by name, quantized ones in parts, and rotary tables."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from export.layout import DENSE, Layout, fused_groups
from export.operands import Operand, row_axis
from export.widened import values_of
from models.checkpoint import Checkpoint
from models.parameters import Shapes, parameter_shapes
from models.quantized_file import stem_of
from models.rotary import rotary_tables
from models.safetensors_file import Planned
from models.spec import DecoderSpec, NoScaling, Rotary

Values = NDArray[np.generic]


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
    operands, shapes = layout.operands(spec), Shapes()
    for name, shape in parameter_shapes(spec).items():
        shapes |= {name: shape} if name not in operands else _shapes(operands[name])
    if spec.tied and "head.weight" in operands:
        shapes |= _shapes(operands["head.weight"])
    tables = {name: (spec.context, kind.features // 2) for kind in rotaries(spec) for name in table_names(kind)}
    return shapes | tables


@dataclass(frozen=True)
class Made:
    """Initializers of a finished graph that are made in one step.

    Attributes:
        planned: Type and shape of each, by its name.
        values: Makes their values, in this order. They stay memory-mapped if the file has the needed format.
    """

    planned: Mapping[str, Planned]
    values: Callable[[], Sequence[Values]]


def steps_to_make(checkpoint: Checkpoint, layout: Layout) -> Iterator[Made]:
    """All initializers of a finished graph, except those that `shared_parts` has."""
    spec, number = checkpoint.spec, np.dtype(layout.float_type)
    operands, groups = layout.operands(spec), fused_groups(spec, layout)
    stacked = {stem for stems in groups.values() for stem in stems}
    for name, shape in parameter_shapes(spec).items():
        if name.rpartition(".")[0] in stacked:
            continue
        if operand := operands.get(name):
            yield Made(operand.initializers, partial(_parts, checkpoint, operand))
        else:
            yield Made({name: (number, shape)}, partial(_dense, checkpoint, name, number))
    for name, stems in groups.items():
        yield _joined(checkpoint, name, [operands[f"{stem}.weight"] for stem in stems])
    head = operands.get("head.weight")
    if spec.tied and head is not None and head.scheme.ordered:
        yield Made({"head.order": head.initializers["head.order"]}, partial(_order_of_head, checkpoint))
    for kind in rotaries(spec):
        planned = (number, (spec.context, kind.features // 2))
        yield Made(dict.fromkeys(table_names(kind), planned), partial(_tables, kind, spec.context, number))


def shared_parts(spec: DecoderSpec, layout: Layout) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The parts of a tied head that are those of the embedding in another shape: by the embedding's, name and shape."""
    head = layout.operands(spec).get("head.weight")
    if head is None or not spec.tied:
        return {}
    return {f"embed.{part}": (f"head.{part}", shape) for part, (_, shape) in head.parts.items() if part != "order"}


def planned_initializers(checkpoint: Checkpoint, layout: Layout = DENSE) -> dict[str, Planned]:
    """Type and shape of the initializers of a finished graph."""
    planned = {name: plan for made in steps_to_make(checkpoint, layout) for name, plan in made.planned.items()}
    shared = shared_parts(checkpoint.spec, layout)
    return planned | {other: (planned[name][0], shape) for name, (other, shape) in shared.items()}


def initializer_values(checkpoint: Checkpoint, layout: Layout = DENSE) -> Iterator[tuple[str, Values]]:
    """Yields the initializers of a finished graph."""
    made = steps_to_make(checkpoint, layout)
    values = (pair for one in made for pair in zip(one.planned, one.values(), strict=True))
    return with_shared(checkpoint.spec, layout, values)


def with_shared(
    spec: DecoderSpec, layout: Layout, values: Iterable[tuple[str, Values]]
) -> Iterator[tuple[str, Values]]:
    """The same initializers and those that share memory with one of them."""
    shared = shared_parts(spec, layout)
    for name, value in values:
        yield name, value
        if name in shared:
            other, shape = shared[name]
            yield other, value.reshape(shape)


def add_initializers(options: Any, values: Mapping[str, Any], in_place: bool) -> None:
    """Adds initializers to the options of an ONNX Runtime session.

    A session copies external initializers when it reads its graph. If they are also added as shared initializers
    (`in_place`, only on the CPU), the session uses the original memory and frees the copies.
    """
    options.add_external_initializers(list(values), list(values.values()))
    if in_place:
        for name, value in values.items():
            options.add_initializer(name, value)


def _shapes(operand: Operand) -> Shapes:
    return {name: shape for name, (_, shape) in operand.initializers.items()}


def _dense(checkpoint: Checkpoint, name: str, number: np.dtype[Any]) -> list[Values]:
    return [np.ascontiguousarray(checkpoint.weights[name], number)]


def _parts(checkpoint: Checkpoint, operand: Operand) -> list[Values]:
    """The parts of a quantized matrix."""
    return list(values_of(operand, checkpoint.quantized[operand.parameter]).values())


def _order_of_head(checkpoint: Checkpoint) -> list[Values]:
    order = checkpoint.quantized["embed.weight"].order
    assert order is not None
    return [order.astype(np.int32)]


def _tables(rotary: Rotary, context: int, number: np.dtype[Any]) -> list[Values]:
    return [table.astype(number, copy=False) for table in rotary_tables(rotary, context)]


def _joined(checkpoint: Checkpoint, name: str, operands: Sequence[Operand]) -> Made:
    """Stacked initializers of several quantized matrices, with their biases if there are any."""
    biases = [f"{stem_of(operand.parameter)}.bias" for operand in operands]
    shapes, number = parameter_shapes(checkpoint.spec), np.dtype(np.float32)
    has_biases = biases[0] in shapes
    planned: dict[str, Planned] = {}
    for part, (kind, shape) in operands[0].parts.items():
        axis = row_axis(part)
        rows = sum(operand.parts[part][1][axis] for operand in operands)
        planned[f"{name}.{part}"] = (kind, (*shape[:-1], rows) if axis else (rows, *shape[1:]))
    if has_biases:
        planned[f"{name}.bias"] = (number, (sum(shapes[bias][0] for bias in biases),))

    def values() -> list[Values]:
        of_each = [values_of(operand, checkpoint.quantized[operand.parameter]) for operand in operands]
        if has_biases:
            for parts, bias in zip(of_each, biases, strict=True):
                parts["bias"] = np.asarray(checkpoint.weights[bias], number)
        return [np.concatenate([parts[part] for parts in of_each], axis=row_axis(part)) for part in of_each[0]]

    return Made(planned, values)
