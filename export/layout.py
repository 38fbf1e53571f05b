"""Number formats of a graph's weights: matrices dense or quantized in groups, all other weights in one float type."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from models.checkpoint import Checkpoint
from models.json_text import json_text
from models.parameters import Shapes, parameter_shapes
from models.precision import FP32, Float, Grouped, Precision, Scheme, Zero
from models.quantized import groups_of, row_bytes
from models.quantized_file import stem_of
from models.spec import DecoderSpec

FloatKind = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Layout:
    """What a graph depends on besides the spec.

    Attributes:
        schemes: Quantization scheme of each quantized matrix (a tied head has its own entry); other matrices are dense.
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
        return json_text({"schemes": table, "accuracy": self.accuracy, "kind": self.kind}, sort_keys=True)


DENSE = Layout()


def layout_of(checkpoint: Checkpoint, precision: Precision = FP32) -> Layout:
    """The layout for a checkpoint: matrices stay quantized if ONNX Runtime has kernels for their scheme.

    `precision` sets how their products are computed; the default is 8 bits.
    """
    if not checkpoint.quantized:
        half = isinstance(precision, Float) and precision.kind == "fp16"
        return Layout(kind="fp16") if half else DENSE
    accuracy = precision.accuracy if isinstance(precision, Grouped) else 4
    stacks = {name for name, shape in parameter_shapes(checkpoint.spec).items() if len(shape) > 2}
    schemes: dict[str, Scheme] = {}
    for name, scheme in checkpoint.quantized.schemes.items():
        any_zero = scheme.zero is Zero.ANY
        if any_zero and (scheme.bits == 8 or name in stacks):
            continue  # only MatMulNBits with 4 bits supports non-integer zero points
        if name != "embed.weight" or not any_zero:
            schemes[name] = scheme
        if name == "embed.weight" and checkpoint.spec.tied:
            schemes["head.weight"] = scheme
    return Layout(schemes, accuracy) if schemes else DENSE


def fused_groups(spec: DecoderSpec, layout: Layout) -> dict[str, tuple[str, ...]]:
    """Groups of matrices that are stacked into one product, in this order: `layers.3.attn.qkv` and its three stems."""
    groups: dict[str, tuple[str, ...]] = {}
    for scope, sublayer in spec.sublayers():
        for name, parts in sublayer.joined.items():
            stems = tuple(f"{scope}.{part}" for part in parts)
            schemes = {layout.schemes.get(f"{stem}.weight") for stem in stems}
            if len(schemes) == 1 and None not in schemes:
                groups[f"{scope}.{name}"] = stems
    return groups


def groups_queries(spec: DecoderSpec) -> bool:
    """Whether the grouped-query operator supports these head sizes: its kernel needs multiples of 8 features."""
    return all(attention.head_dim % 8 == 0 for attention in spec.attentions)


def part_shapes(parameter: str, shape: tuple[int, ...], scheme: Scheme) -> Shapes:
    """Shapes of the initializers of a quantized matrix or stack; products need the bytes of a row in groups."""
    *rows, columns = shape
    stem, groups, length = stem_of(parameter), groups_of(columns, scheme), row_bytes(columns, scheme)
    whole_rows = len(rows) > 1 or parameter == "embed.weight"
    shapes: Shapes = {
        f"{stem}.codes": (*rows, length) if whole_rows else (*rows, groups, length // groups),
        f"{stem}.scales": (*rows, groups),
    }
    if scheme.zero is Zero.WHOLE:
        shapes[f"{stem}.zeros"] = (*rows, -(-groups * scheme.bits // 8))
    if scheme.zero is Zero.ANY:
        shapes[f"{stem}.zeros"] = (*rows, groups)
    return shapes


def is_float(part: str, scheme: Scheme) -> bool:
    """Whether an initializer of a quantized matrix is float32 and not uint8."""
    return part.endswith(".scales") or (part.endswith(".zeros") and scheme.zero is Zero.ANY)
