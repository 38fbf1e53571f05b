"""Quantized matrices in the form that ONNX Runtime's operators read: the parts of each, with type and shape.

    codes      of 4 or 8 bits; narrower ones are widened
    scales     one for each group
    zeros      the code of 0 in each group, unless it is the middle one; as bytes like codes
    offsets    what each group adds to weights whose 0 is the middle code, (group, row): see `export.products`
    order      the columns of the input that stored columns belong to; for the embedding the inverse

ONNX Runtime has no fast product of 8 bits with float32 inputs. So such a matrix has two planes of 4 bits: in every row
first the high halves of all codes, then the low ones. Each plane has its own scales and zeros.
"""

from dataclasses import dataclass, replace

import numpy as np

from models.precision import Scheme, Zero
from models.quantized import groups_of
from models.quantized_file import stem_of
from models.safetensors_file import Planned

ROUNDS = 4
"""The accuracy of products that round inputs to 8 bits, each group with the scale of its largest."""

PLANE_BITS = 4


@dataclass(frozen=True)
class Operand:
    """A quantized matrix, or a stack, as operators read it.

    Attributes:
        parameter: Its name.
        scheme: Its scheme in graphs.
        accuracy: `accuracy_level` of products with it.
    """

    parameter: str
    shape: tuple[int, ...]
    scheme: Scheme
    accuracy: int

    @property
    def is_stack(self) -> bool:
        return len(self.shape) > 2

    @property
    def columns(self) -> int:
        return self.shape[-1]

    @property
    def padded(self) -> int:
        """Columns of whole groups."""
        return groups_of(self.columns, self.scheme) * self.scheme.group

    @property
    def has_planes(self) -> bool:
        """Whether it is two planes of 4 bits."""
        return has_planes(self.scheme, self.accuracy) and not self.is_stack

    @property
    def bits(self) -> int:
        """Bits of a stored code."""
        return PLANE_BITS if self.has_planes else self.scheme.bits

    @property
    def has_zeros(self) -> bool:
        """Whether zeros are stored: those of the two planes differ, so neither is the middle."""
        return self.scheme.zero is Zero.WHOLE or (self.has_planes and self.scheme.zero is Zero.MIDDLE)

    @property
    def parts(self) -> dict[str, Planned]:
        """Type and shape of each part, by its name."""
        *rows, columns = self.shape
        groups = groups_of(columns, self.scheme)
        stored, length = groups * (2 if self.has_planes else 1), self.scheme.group * self.bits // 8
        by_row = self.is_stack or self.parameter == "embed.weight"  # products need rows in groups
        code, number = np.dtype(np.uint8), np.dtype(np.float32)
        parts: dict[str, Planned] = {
            "codes": (code, (*rows, stored * length) if by_row else (*rows, stored, length)),
            "scales": (number, (*rows, stored)),
        }
        if self.has_zeros:
            parts["zeros"] = (code, (*rows, -(-stored * self.bits // 8)))
        if self.scheme.zero is Zero.OFFSET:
            parts["offsets"] = (number, (*rows[:-1], groups, rows[-1]))
        if self.scheme.ordered:
            parts["order"] = (np.dtype(np.int32), (columns,))
        return parts

    @property
    def initializers(self) -> dict[str, Planned]:
        """The same, by the names of the initializers: `layers.3.attn.out.codes`."""
        stem = stem_of(self.parameter)
        return {f"{stem}.{part}": planned for part, planned in self.parts.items()}


def row_axis(part: str) -> int:
    """The axis of a single matrix's rows in one of its parts."""
    return -1 if part == "offsets" else 0


def in_graphs(scheme: Scheme) -> Scheme:
    """The scheme of a matrix in graphs, for which there are operators."""
    return replace(scheme, bits=4 if scheme.bits <= 4 else 8)


def has_planes(scheme: Scheme, accuracy: int) -> bool:
    """Whether products with single matrices of this scheme use planes."""
    return scheme.bits == 8 and accuracy != ROUNDS
