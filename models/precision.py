"""Precisions as data, and as users write them: `fp32`, `bf16`, `int4`, `int8-g128-sym`, `mixed`."""

import re
from dataclasses import dataclass
from enum import StrEnum

from models.errors import MisuseError

GROUPS = (32, 64, 128)
"""Group sizes that the kernels of ONNX Runtime and MLX both support."""

ACCURACIES = (0, 1, 4)

_ALL_GROUPS = (16, *GROUPS)
"""Group sizes of weights that are stored quantized."""

SPELLINGS = "fp32, bf16, fp16, or int4, int8 with any of -g32, -g64, -g128, -sym, -acc0"


class Zero(StrEnum):
    """The zero point of a group: the code that stands for 0."""

    MIDDLE = "middle"  # the middle code, in every group
    WHOLE = "whole"  # an integer code for each group
    OFFSET = "offset"  # no code: an offset for each group is added, as in MLX checkpoints and GGUF files


@dataclass(frozen=True)
class Scheme:
    """A quantization scheme: `weight = scale · (code - zero)`, with scale and zero point per group of a row.

    Attributes:
        bits: Bits of a code: 2 to 6, or 8.
        group: Columns of a row that share scale and zero point; the last group of a row is padded.
        ordered: Whether columns are stored in another order, as GPTQ does with `desc_act`.
    """

    bits: int
    group: int
    zero: Zero
    ordered: bool = False


@dataclass(frozen=True)
class Float:
    """One float type for weights and activations: `fp32`, `bf16` or `fp16`."""

    kind: str

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Grouped:
    """Matrices quantized in groups; activations, norms and biases in float32.

    Attributes:
        accuracy: `accuracy_level` of ONNX Runtime's `MatMulNBits`: 4 quantizes activations to 8 bits per group, which
            is fast; 0 and 1 keep them float32. Other engines always use float32 activations.
    """

    scheme: Scheme
    accuracy: int = 4

    def __str__(self) -> str:
        group = "" if self.scheme.group == GROUPS[0] else f"-g{self.scheme.group}"
        symmetric = "-sym" if self.scheme.zero is Zero.MIDDLE else ""
        return f"int{self.scheme.bits}{group}{symmetric}{_option(self.accuracy)}"


@dataclass(frozen=True)
class Mixed:
    """Matrices that are stored quantized in several schemes, as in most GGUF files.

    Attributes:
        accuracy: As in `Grouped`.
    """

    accuracy: int = 4

    def __str__(self) -> str:
        return f"{_MIXED}{_option(self.accuracy)}"


Precision = Float | Grouped | Mixed

FP32 = Float("fp32")

_MIXED = "mixed"

_GROUPED = re.compile(r"int(?P<bits>[234568])(?P<options>(-[a-z0-9]+)*)")


def precision_of(text: str) -> Precision:
    """Parses a precision, also of weights that are stored quantized: `mixed`, `int6-g16-sym`.

    Raises MisuseError for an unknown precision, with those to which weights can be converted.
    """
    if text in ("fp32", "bf16", "fp16"):
        return Float(text)
    if text in (mixed := {str(Mixed(level)): Mixed(level) for level in ACCURACIES}):
        return mixed[text]
    match = _GROUPED.fullmatch(text)
    if match is None:
        raise MisuseError(f"no precision '{text}'; use {SPELLINGS}")
    group, zero, accuracy = GROUPS[0], Zero.WHOLE, 4
    for option in match["options"].split("-")[1:]:
        if option == "sym":
            zero = Zero.MIDDLE
        elif option in {f"g{size}" for size in _ALL_GROUPS}:
            group = int(option[1:])
        elif option in {f"acc{level}" for level in ACCURACIES}:
            accuracy = int(option[3:])
        else:
            raise MisuseError(f"no precision '{text}': unknown option '-{option}'; use {SPELLINGS}")
    return Grouped(Scheme(int(match["bits"]), group, zero), accuracy)


def _option(accuracy: int) -> str:
    """The accuracy as users write it; the default is not written."""
    return "" if accuracy == 4 else f"-acc{accuracy}"
