"""Quantized matrices from the blocks that GGUF files store.

Each kind of block has a layout, which names its bytes, and a function that decodes them. Codes, scales and offsets stay
as they are, so that weights are exactly those of ggml; only the order of the bits changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from models.code_bytes import codes_to_bytes
from models.precision import Scheme, Zero
from models.quantized import QuantizedMatrix, groups_of, row_bytes
from models.sources.gguf.ggml_types import TYPE_NAMED
from models.sources.gguf.k_blocks import iq4_xs, q2_k, q3_k, q4_k_or_q5_k, q6_k
from models.sources.gguf.parts import Blocks, Parts
from models.sources.gguf.small_blocks import halves, iq4_nl, mxfp4, q1_0, q8_0, tq2_0

_STEP = 1 << 18
"""Weights that are decoded in one step: their codes fit a cache."""


@dataclass(frozen=True)
class BlockKind:
    """A kind of block: the scheme of the matrices that it becomes, where its bytes are, and what reads them."""

    scheme: Scheme
    layout: np.dtype[Any]
    parts: Callable[[Blocks], Parts]


def _kind(bits: int, group: int, zero: Zero, parts: Callable[[Blocks], Parts], **fields: str) -> BlockKind:
    return BlockKind(Scheme(bits, group, zero), np.dtype(list(fields.items())), parts)


# Fields: `d` and `m` are the scale and the offset of a block, or of their groups' scales and offsets. V16 is 16 bytes.
_KINDS = {
    "Q4_0": _kind(4, 32, Zero.MIDDLE, halves, d="<f2", codes="V16"),
    "Q4_1": _kind(4, 32, Zero.OFFSET, halves, d="<f2", m="<f2", codes="V16"),
    "Q5_0": _kind(5, 32, Zero.MIDDLE, halves, d="<f2", fifth="V4", codes="V16"),
    "Q5_1": _kind(5, 32, Zero.OFFSET, halves, d="<f2", m="<f2", fifth="V4", codes="V16"),
    "Q8_0": _kind(8, 32, Zero.MIDDLE, q8_0, d="<f2", codes="V32"),
    "Q2_K": _kind(2, 16, Zero.OFFSET, q2_k, groups="V16", codes="V64", d="<f2", m="<f2"),
    "Q3_K": _kind(3, 16, Zero.MIDDLE, q3_k, third="V32", codes="V64", low="V8", high="V4", d="<f2"),
    "Q4_K": _kind(4, 32, Zero.OFFSET, q4_k_or_q5_k, d="<f2", m="<f2", groups="V12", codes="V128"),
    "Q5_K": _kind(5, 32, Zero.OFFSET, q4_k_or_q5_k, d="<f2", m="<f2", groups="V12", fifth="V32", codes="V128"),
    "Q6_K": _kind(6, 16, Zero.MIDDLE, q6_k, codes="V128", pairs="V64", groups="V16", d="<f2"),
    "IQ4_NL": _kind(8, 32, Zero.MIDDLE, iq4_nl, d="<f2", codes="V16"),
    "IQ4_XS": _kind(8, 32, Zero.MIDDLE, iq4_xs, d="<f2", high="V2", low="V4", codes="V128"),
    "MXFP4": _kind(5, 32, Zero.MIDDLE, mxfp4, exponent="u1", codes="V16"),
    "TQ2_0": _kind(2, 128, Zero.WHOLE, tq2_0, codes="V64", d="<f2"),
    "Q1_0": _kind(2, 128, Zero.WHOLE, q1_0, d="<f2", signs="V16"),
}

BLOCK_SCHEMES = {name: kind.scheme for name, kind in _KINDS.items()}
"""Schemes of matrices by the kind of block that they are stored in; matrices of other kinds are not read."""


def matrix_of(
    kind: str,
    blocks: UInt8[np.ndarray, "row bytes"],
    columns: int,
    multiplier: float = 1.0,
    n_experts: int | None = None,
) -> QuantizedMatrix:
    """The matrix in rows of blocks of a kind that `BLOCK_SCHEMES` has, with all weights times a multiplier.

    Raises:
        ValueError: some scales are not finite, or so large that weights are not.
    """
    found, weights = _KINDS[kind], TYPE_NAMED[kind].block_weights
    scheme, rows = found.scheme, len(blocks)
    # Rows are whole blocks, and blocks are whole groups: all rows are decoded as one row of blocks.
    stored = blocks.reshape(-1).view(found.layout)
    codes = np.empty((len(stored), row_bytes(weights, scheme)), np.uint8)
    scales = np.empty((len(stored), weights // scheme.group), np.float32)
    offsets = np.empty_like(scales) if scheme.zero is Zero.OFFSET else None
    with np.errstate(over="ignore", invalid="ignore"):  # `_finite` refuses what results
        for first in range(0, len(stored), _STEP // weights):
            some = slice(first, first + _STEP // weights)
            parts = found.parts(stored[some])
            codes[some] = codes_to_bytes(parts.codes, scheme.bits).reshape(codes[some].shape)
            scales[some] = _finite(parts.scales * np.float32(multiplier), scheme.bits)
            if offsets is not None and parts.offsets is not None:
                offsets[some] = _finite(parts.offsets * np.float32(multiplier), scheme.bits)
    return QuantizedMatrix(
        scheme,
        columns,
        codes.reshape(rows, -1),
        scales.reshape(rows, -1),
        np.ones((rows, groups_of(columns, scheme)), np.uint8) if scheme.zero is Zero.WHOLE else None,
        n_experts,
        None if offsets is None else offsets.reshape(rows, -1),
    )


def _finite(numbers: Float32[np.ndarray, "block group"], bits: int) -> Float32[np.ndarray, "block group"]:
    """Scales or offsets that are small enough for every weight to be finite."""
    bound = np.finfo(np.float32).max / np.float32(1 << bits)
    if not (np.abs(numbers) <= bound).all():  # which is also false for one that is not a number
        raise ValueError("some of its scales are not finite, or too large")
    return numbers
