"""The precisions a decoder runs in, as data, and how users spell them: `fp32`, `bf16`, `int4`, `int8-g128-sym`."""

import re
from dataclasses import dataclass
from enum import StrEnum

from models.errors import MisuseError

GROUPS = (32, 64, 128)
"""Columns that may share a scale: what the kernels of both ONNX Runtime and MLX take."""

ACCURACIES = (0, 1, 4)

SPELLINGS = "fp32, bf16, fp16, or int4, int8 with any of -g32, -g64, -g128, -sym, -acc0"


class Zero(StrEnum):
    """Which code of a group stands for 0."""

    MIDDLE = "middle"  # half of the codes lie below it, in every group
    WHOLE = "whole"  # a code of the group's own
    ANY = "any"  # a number between codes, as MLX's own checkpoints may have it


@dataclass(frozen=True)
class Scheme:
    """How a matrix is stored in groups: `weight = scale · (code - zero)`, a scale and a zero for each group of a row.

    Attributes:
        bits: Of a code, 4 or 8.
        group: Columns of a row that share scale and zero; the last group of a row is filled up.
    """

    bits: int
    group: int
    zero: Zero


@dataclass(frozen=True)
class Float:
    """Every number of one kind, weights and activations: `fp32`, `bf16` or `fp16`."""

    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Grouped:
    """Matrices in groups of whole numbers; activations, norms and biases in float32.

    Attributes:
        accuracy: What ONNX Runtime multiplies in (`accuracy_level` of `MatMulNBits`): 4 rounds activations to 8 bits,
            group by group, and is the fast one; 0 and 1 keep them float32. The other engines always keep them.
    """

    scheme: Scheme
    accuracy: int = 4

    def __str__(self) -> str:
        group = "" if self.scheme.group == GROUPS[0] else f"-g{self.scheme.group}"
        symmetric = "-sym" if self.scheme.zero is Zero.MIDDLE else ""
        accuracy = "" if self.accuracy == 4 else f"-acc{self.accuracy}"
        return f"int{self.scheme.bits}{group}{symmetric}{accuracy}"


Precision = Float | Grouped

FP32 = Float("fp32")

_GROUPED = re.compile(r"int(?P<bits>[48])(?P<options>(-[a-z0-9]+)*)")


def precision_of(text: str) -> Precision:
    """The precision that users spell so; an unknown spelling is a `MisuseError` that lists the known ones."""
    if text in ("fp32", "bf16", "fp16"):
        return Float(text)
    found = _GROUPED.fullmatch(text)
    if found is None:
        raise MisuseError(f"no precision '{text}'; there are {SPELLINGS}")
    group, zero, accuracy = GROUPS[0], Zero.WHOLE, 4
    for option in found["options"].split("-")[1:]:
        if option == "sym":
            zero = Zero.MIDDLE
        elif option in {f"g{size}" for size in GROUPS}:
            group = int(option[1:])
        elif option in {f"acc{level}" for level in ACCURACIES}:
            accuracy = int(option[3:])
        else:
            raise MisuseError(f"no precision '{text}': '-{option}' is none of its options; there are {SPELLINGS}")
    return Grouped(Scheme(int(found["bits"]), group, zero), accuracy)
