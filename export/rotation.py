"""Rotary positions as ONNX operators: their tables, and whether the attention operator can rotate."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor
from torch.onnx import ops

from models.spec import Attention, Rotary, RotatedHeadNorm

Heads = Float[Tensor, "*batch token head head_dim"]
Table = Float[Tensor, "position pair"]


@dataclass(frozen=True)
class Tables:
    """Cosine and sine tables over positions, for each rotary scheme of a decoder."""

    of: dict[Rotary, tuple[Table, Table]]

    def rotate(self, heads: Heads, positions: Int[Tensor, "batch token"], rotary: Rotary) -> Heads:
        """Applies the standard RotaryEmbedding operator to concatenated heads."""
        cos, sin = self.of[rotary]
        token, head, head_dim = heads.shape[-3:]
        rotated = ops.rotary_embedding(
            heads.reshape(-1, token, head * head_dim),
            cos,
            sin,
            positions,
            num_heads=head,
            rotary_embedding_dim=0 if rotary.features == head_dim else rotary.features,
        )
        return rotated.reshape(heads.shape)


def fuses(rotary: Rotary, head_dim: int) -> bool:
    """Whether the grouped-query operator can rotate: its kernel needs multiples of 16 features."""
    return head_dim % 16 == 0 and rotary.features % 16 == 0


def rotates_inside(attention: Attention) -> bool:
    """Whether the grouped-query operator can rotate these heads; a norm after rotation must be outside of it."""
    position, normed = attention.position, isinstance(attention.head_norm, RotatedHeadNorm)
    return isinstance(position, Rotary) and fuses(position, attention.head_dim) and not normed
