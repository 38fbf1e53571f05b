"""How a graph is given its numbers: matrices dense or in groups of whole numbers, the rest in one kind of float."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from models.checkpoint import Checkpoint
from models.json_text import json_text
from models.parameters import Shapes
from models.parts import layers_of
from models.precision import FP32, Float, Grouped, Precision, Scheme, Zero
from models.quantized import groups_of, row_bytes
from models.quantized_file import stem_of
from models.spec import DecoderSpec

FloatKind = Literal["fp32", "fp16"]


@dataclass(frozen=True)
class Layout:
    """What a graph depends on beside the spec.

    Attributes:
        schemes: Of every matrix that is given in groups, a tied head's by a name of its own; the others are dense.
        accuracy: `accuracy_level` of the products with them.
        kind: Every other number, keys and values too; what comes out of a graph is float32 all the same.
    """

    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    accuracy: int = 0
    kind: FloatKind = "fp32"

    @property
    def precision(self) -> str:
        """In a word, for a manifest."""
        return "+".join(sorted({f"int{scheme.bits}" for scheme in self.schemes.values()})) or self.float_type

    @property
    def float_type(self) -> str:
        """The floats by the name that numpy and torch have for them."""
        return {"fp32": "float32", "fp16": "float16"}[self.kind]

    def to_json(self) -> str:
        """Equal for equal layouts; empty for the plain one."""
        if self == DENSE:
            return ""
        table = {name: asdict(scheme) for name, scheme in sorted(self.schemes.items())}
        return json_text({"schemes": table, "accuracy": self.accuracy, "kind": self.kind}, sort_keys=True)


DENSE = Layout()


def layout_of(checkpoint: Checkpoint, precision: Precision = FP32) -> Layout:
    """How a checkpoint's weights are given to a graph: quantized where they are and ONNX Runtime has kernels for them.

    Products with them are computed as `precision` says, by 8 bits where it says nothing.
    """
    if not checkpoint.quantized:
        half = isinstance(precision, Float) and precision.kind == "fp16"
        return Layout(kind="fp16") if half else DENSE
    accuracy = precision.accuracy if isinstance(precision, Grouped) else 4
    schemes: dict[str, Scheme] = {}
    for name, scheme in checkpoint.quantized.schemes.items():
        any_zero = scheme.zero is Zero.ANY
        if any_zero and scheme.bits == 8:
            continue  # MatMulNBits takes zeros between codes with 4 bits only
        if name != "embed.weight" or not any_zero:
            schemes[name] = scheme
        if name == "embed.weight" and checkpoint.spec.tied:
            schemes["head.weight"] = scheme
    return Layout(schemes, accuracy) if schemes else DENSE


_TOGETHER = {"attn.qkv": ("attn.query", "attn.key", "attn.value"), "ffn.gate_up": ("ffn.gate", "ffn.up")}
"""Matrices of a layer that read the same rows, by what they are called when they are stacked."""


def fused_groups(layout: Layout) -> dict[str, tuple[str, ...]]:
    """The matrices that one product reads, stacked in this order: `layers.3.attn.qkv`, and the three stems in it."""
    found: dict[str, tuple[str, ...]] = {}
    for layer in layers_of(layout.schemes):
        for together, parts in _TOGETHER.items():
            stems = tuple(f"layers.{layer}.{part}" for part in parts)
            schemes = {layout.schemes.get(f"{stem}.weight") for stem in stems}
            if len(schemes) == 1 and None not in schemes:
                found[f"layers.{layer}.{together}"] = stems
    return found


def groups_queries(spec: DecoderSpec) -> bool:
    """Whether the grouped-query operator takes heads of this size: its kernel works on 8 features at a time."""
    return spec.head_dim % 8 == 0


def part_shapes(parameter: str, shape: tuple[int, ...], scheme: Scheme) -> Shapes:
    """The initializers of one quantized matrix; products want the bytes of a row group by group."""
    (rows, columns), stem = shape, stem_of(parameter)
    groups, length = groups_of(columns, scheme), row_bytes(columns, scheme)
    codes = (rows, length) if parameter == "embed.weight" else (rows, groups, length // groups)
    shapes: Shapes = {f"{stem}.codes": codes, f"{stem}.scales": (rows, groups)}
    if scheme.zero is Zero.WHOLE:
        shapes[f"{stem}.zeros"] = (rows, -(-groups * scheme.bits // 8))
    if scheme.zero is Zero.ANY:
        shapes[f"{stem}.zeros"] = (rows, groups)
    return shapes


def is_float(part: str, scheme: Scheme) -> bool:
    """Whether an initializer of a quantized matrix holds float32, not bytes."""
    return part.endswith(".scales") or (part.endswith(".zeros") and scheme.zero is Zero.ANY)
