"""Bytes and operations of each part of a pass, computed from the spec, for comparison with measured times.

Bytes are read or written at least once: weights in the engine's format, keys and values, and input and output vectors.
Operations are multiplications and additions of matrix products. Norms, activations and positions are left out; they
are below 1% at d_model 64 and above.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from models.parameters import parameter_shapes
from models.parts import part_of_module
from models.spec import DecoderSpec, Full, LayerSpec

WeightBytes = Callable[[str, tuple[int, ...]], float]
"""Bytes of a weight in an engine's format, by name and shape."""

Parts = dict[str, "Work"]


@dataclass(frozen=True)
class Work:
    """Work of one part in one pass.

    Attributes:
        touched_bytes: Bytes read and written.
        flops: Multiplications and additions in matrix products.
    """

    touched_bytes: float
    flops: float

    def __add__(self, other: "Work") -> "Work":
        return Work(self.touched_bytes + other.touched_bytes, self.flops + other.flops)


NOTHING = Work(0.0, 0.0)


def keys_read(layer: LayerSpec, tokens: int, depth: int) -> int:
    """Number of query-key pairs within the attention window, for `tokens` tokens after `depth`."""
    ends = range(depth + 1, depth + tokens + 1)
    if isinstance(layer.window, Full):
        return sum(ends)
    return sum(min(end, layer.window.tokens) for end in ends)


def work_of(
    spec: DecoderSpec, stored_bytes: WeightBytes, float_bytes: int, tokens: int, depth: int
) -> Mapping[str, Work]:
    """Work of each part in a pass over `tokens` tokens at `depth`; the head computes only the last token.

    Args:
        stored_bytes: Bytes of each weight in the engine's format.
        float_bytes: Bytes of one activation, key or value.
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
    """A matrix applied to `rows` vectors; weight vectors, as in norms and biases, are only read."""
    if len(shape) == 1:
        return Work(weight_bytes, 0.0)
    return Work(weight_bytes + rows * sum(shape) * float_bytes, 2.0 * rows * prod(shape))


def _core(spec: DecoderSpec, layer: LayerSpec, float_bytes: int, tokens: int, depth: int) -> Work:
    """Scores and weighted sum: keys and values of visible tokens are read once, those of the pass are written."""
    seen = depth + tokens if isinstance(layer.window, Full) else min(depth + tokens, layer.window.tokens + tokens - 1)
    kept = 2 * spec.n_kv_heads * spec.head_dim * (seen + tokens)
    inside = 2 * spec.n_heads * spec.head_dim * tokens
    flops = 4.0 * spec.n_heads * spec.head_dim * keys_read(layer, tokens, depth)
    return Work(float((kept + inside) * float_bytes), flops)
