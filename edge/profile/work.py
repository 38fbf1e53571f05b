"""Bytes that every part of a pass touches and operations it computes, from the spec: what times are held against.

Bytes are those that must come from memory or go there once: weights as the engine stores them, keys and values, and
the vectors that go in and out. Operations are multiplications and additions of matrix products; norms, activations and
positions are left out, which is below a hundredth of them at d_model 64 and above.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from models.parameters import parameter_shapes
from models.parts import part_of_module
from models.spec import DecoderSpec, Full, LayerSpec

WeightBytes = Callable[[str, tuple[int, ...]], float]
"""Bytes of a weight as an engine holds it, by name and shape."""

Parts = dict[str, "Work"]


@dataclass(frozen=True)
class Work:
    """What one part does in one pass.

    Attributes:
        touched_bytes: Read and written.
        flops: Multiplications and additions in matrix products.
    """

    touched_bytes: float
    flops: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.touched_bytes + other.touched_bytes, self.flops + other.flops)


NOTHING = Work(0.0, 0.0)


def keys_read(layer: LayerSpec, tokens: int, depth: int) -> int:
    """Pairs of a token and a key that it may read, over a pass of `tokens` tokens after `depth`."""
    ends = range(depth + 1, depth + tokens + 1)
    if isinstance(layer.window, Full):
        return sum(ends)
    return sum(min(end, layer.window.tokens) for end in ends)


def work_of(
    spec: DecoderSpec, stored_bytes: WeightBytes, float_bytes: int, tokens: int, depth: int
) -> Mapping[str, Work]:
    """Each part's work in a pass over `tokens` tokens at `depth`, the head computing the last token alone.

    Args:
        stored_bytes: Bytes of each weight as the engine holds it.
        float_bytes: Of one activation, key or value.
    """
    parts: Parts = {}

    def add(part: str, work: Work) -> None:
        parts[part] = parts.get(part, NOTHING) + work

    for name, shape in parameter_shapes(spec).items():
        part = part_of_module(name.rpartition(".")[0])
        if part is None or name in ("embed.weight", "embed.positions"):
            continue
        rows = 1 if part == "head" else tokens
        add(part, _weight(shape, stored_bytes(name, shape), rows, float_bytes))
    row_bytes = stored_bytes("embed.weight", (1, spec.token_width)) + spec.d_model * float_bytes
    add("embed", Work(tokens * row_bytes, 0.0))
    if spec.tied:
        shape = (spec.vocab_size, spec.token_width)
        add("head", _weight(shape, stored_bytes("embed.weight", shape), 1, float_bytes))
    for index, layer in enumerate(spec.layers):
        add(f"layers.{index}.attn.core", _core(spec, layer, float_bytes, tokens, depth))
        add(f"layers.{index}.ffn.act", Work(2.0 * tokens * layer.ffn.d_ff * float_bytes, 0.0))
    return parts


def _weight(shape: tuple[int, ...], weight_bytes: float, rows: int, float_bytes: int) -> Work:
    """A matrix applied to `rows` vectors; a vector of weights, as norms and biases have, is only read."""
    if len(shape) == 1:
        return Work(weight_bytes, 0.0)
    return Work(weight_bytes + rows * sum(shape) * float_bytes, 2.0 * rows * prod(shape))


def _core(spec: DecoderSpec, layer: LayerSpec, float_bytes: int, tokens: int, depth: int) -> Work:
    """Scores and the weighted sum: keys and values of every visible token are read once, those of the pass written."""
    seen = depth + tokens if isinstance(layer.window, Full) else min(depth + tokens, layer.window.tokens + tokens - 1)
    kept = 2 * spec.n_kv_heads * spec.head_dim * (seen + tokens)
    inside = 2 * spec.n_heads * spec.head_dim * tokens
    flops = 4.0 * spec.n_heads * spec.head_dim * keys_read(layer, tokens, depth)
    return Work(float((kept + inside) * float_bytes), flops)
