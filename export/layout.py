"""Number formats of a graph's weights: matrices dense or quantized in groups, all other weights in one float type."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from export.operands import Operand, has_planes, in_graphs
from models.checkpoint import Checkpoint
from models.errors import CheckpointError
from models.json_text import json_text
from models.parameters import parameter_shapes
from models.precision import FP32, Float, Precision, Scheme, Zero
from models.quantized_file import stem_of
from models.spec import DecoderSpec

FloatKind = Literal["fp32", "fp16"]

_QUANTIZED_FORMAT = 2
"""Increases when graphs with quantized matrices change; `export.manifest.FORMAT` is for all graphs."""


@dataclass(frozen=True)
class Layout:
    """What a graph depends on besides the spec.

    Attributes:
        schemes: Quantization scheme in the graph of each quantized matrix (a tied head has its own entry); other
            matrices are dense.
        accuracy: `accuracy_level` of products with them.
        kind: Float type of all other numbers, including keys and values. Outputs of a graph are always float32.
    """

    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    accuracy: int = 0
    kind: FloatKind = "fp32"

    @property
    def precision(self) -> str:
        """A short name of the precision, for a manifest."""
        return "+".join(sorted({f"int{scheme.bits}" for scheme in self.schemes.values()})) or self.float_type

    @property
    def float_type(self) -> str:
        """Name of the float type in numpy and torch."""
        return {"fp32": "float32", "fp16": "float16"}[self.kind]

    def to_json(self) -> str:
        """Equal for equal layouts; empty for `DENSE`."""
        if self == DENSE:
            return ""
        table = {name: asdict(scheme) for name, scheme in sorted(self.schemes.items())}
        others = {"accuracy": self.accuracy, "kind": self.kind, "format": _QUANTIZED_FORMAT}
        return json_text({"schemes": table} | others, sort_keys=True)

    @property
    def has_planes(self) -> bool:
        """Whether some matrices are two planes."""
        return any(has_planes(scheme, self.accuracy) for scheme in self.schemes.values())

    def operands(self, spec: DecoderSpec) -> dict[str, Operand]:
        """The quantized matrices by parameter, in order of computation; a tied head is the last."""
        shapes = parameter_shapes(spec)
        if spec.tied:
            shapes["head.weight"] = (spec.vocab_size, spec.token_width)
        return {
            name: Operand(name, shape, self.schemes[name], self.accuracy)
            for name, shape in shapes.items()
            if name in self.schemes
        }


DENSE = Layout()


def layout_of(checkpoint: Checkpoint, precision: Precision = FP32) -> Layout:
    """The layout for a checkpoint: its quantized matrices stay quantized, in schemes for which there are operators.

    `precision` sets how their products are computed; the default is 8 bits.

    Raises:
        CheckpointError: a matrix with offsets or an order has rows that are not whole groups.
    """
    if not checkpoint.quantized:
        half = isinstance(precision, Float) and precision.kind == "fp16"
        return Layout(kind="fp16") if half else DENSE
    accuracy = 4 if isinstance(precision, Float) else precision.accuracy
    shapes = parameter_shapes(checkpoint.spec)
    schemes: dict[str, Scheme] = {}
    for name, scheme in checkpoint.quantized.schemes.items():
        columns = shapes[name][-1]
        if columns % scheme.group and (scheme.ordered or scheme.zero is Zero.OFFSET):
            raise CheckpointError(
                f"'{stem_of(name)}' of {checkpoint.name} has {columns} columns, which groups of {scheme.group} do not "
                "divide; convert the model again in another quantization"
            )
        schemes[name] = in_graphs(scheme)
    if checkpoint.spec.tied and "embed.weight" in schemes:
        schemes["head.weight"] = schemes["embed.weight"]
    return Layout(schemes, accuracy)


def fused_groups(spec: DecoderSpec, layout: Layout) -> dict[str, tuple[str, ...]]:
    """Groups of matrices that are stacked into one product, in this order: `layers.3.attn.qkv` and its three stems.

    Ordered matrices are not among them: each needs its input in another order.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for scope, sublayer in spec.sublayers():
        for name, parts in sublayer.joined.items():
            stems = tuple(f"{scope}.{part}" for part in parts)
            schemes = {layout.schemes.get(f"{stem}.weight") for stem in stems}
            scheme = schemes.pop() if len(schemes) == 1 else None
            if scheme is not None and not scheme.ordered:
                groups[f"{scope}.{name}"] = stems
    return groups


def groups_queries(spec: DecoderSpec) -> bool:
    """Whether the grouped-query operator supports these head sizes: its kernel needs multiples of 8 features."""
    return all(attention.head_dim % 8 == 0 for attention in spec.attentions)
